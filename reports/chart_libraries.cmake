# What draws the charts of an HTML report, as one script: vega and vega-lite (BSD-3-Clause, their
# licence is kept at its top) in the versions of package-lock.json. Without npm or a registry the
# report has its tables only, and says so. Tests drive a browser, which playwright-core is for.
find_program(NPM npm)
set(charts_js ${CMAKE_BINARY_DIR}/charts.js)
set(npm_dir ${CMAKE_BINARY_DIR}/npm)
set(npm_omit --omit=dev)
if(BUILD_TESTING)
  set(npm_omit)
endif()
if(NPM AND NOT (EXISTS ${charts_js} AND
                (NOT BUILD_TESTING OR EXISTS ${npm_dir}/node_modules/playwright-core)))
  file(COPY reports/package.json reports/package-lock.json DESTINATION ${npm_dir})
  execute_process(COMMAND ${NPM} ci ${npm_omit} --ignore-scripts --no-audit --no-fund --silent
                  WORKING_DIRECTORY ${npm_dir} RESULT_VARIABLE npm_result TIMEOUT 180)
  if(npm_result EQUAL 0)
    set(modules ${npm_dir}/node_modules)
    file(WRITE ${npm_dir}/begin "/* vega and vega-lite\n")
    file(WRITE ${npm_dir}/end "*/\n")
    file(WRITE ${npm_dir}/line "\n;\n")
    execute_process(
      COMMAND ${CMAKE_COMMAND} -E cat ${npm_dir}/begin ${modules}/vega/LICENSE ${npm_dir}/end
              ${modules}/vega/build/vega.min.js ${npm_dir}/line
              ${modules}/vega-lite/build/vega-lite.min.js ${npm_dir}/line
      OUTPUT_FILE ${charts_js}.part)
    file(RENAME ${charts_js}.part ${charts_js})
  endif()
endif()
if(EXISTS ${charts_js})
  message(STATUS "HTML reports: with charts")
else()
  message(STATUS "HTML reports: tables only (no npm, or it reached no registry)")
endif()

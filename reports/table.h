#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/statistics.h"

namespace fse {

// Text from outside (names, paths, reasons) as inert Markdown on one line: no pipe, tag, link or
// line break survives as such.
std::string escape_markdown(std::string_view);

// A fenced block, whatever backticks the text holds.
std::string code_block(const std::string& text, const std::string& language = "");

// A GitHub table, padded so that it can be read unrendered too. Titles that begin with '<' head
// left-aligned columns (the '<' is not shown); all others hold numbers and are right-aligned.
// Cells are Markdown already.
struct Table {
  std::vector<std::string> titles;
  std::vector<std::vector<std::string>> rows;
};
std::string to_markdown(const Table&);

// Decimals that leave about four digits of the largest number of a table: 2310, 231.0, 23.10.
int decimals_for(double largest);
std::string number(double value, int decimals);  // "-" for NaN
std::string signed_number(double value, int decimals);
std::string interval(const Summary&, int decimals);  // "[2290, 2330]", "n too small (need 6)"
std::string error_text(double value);                // "1.2e-03", "not finite"

}  // namespace fse

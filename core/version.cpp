#include "core/version.h"

#include "git_revision.h"  // written by every build: core/git_revision.cmake

namespace fse {

std::string_view version() {
  return FSELAB_VERSION;
}

std::string_view git_revision() {
  return kGitRevision;
}

std::string_view compiler_text() {
  return FSELAB_COMPILER;
}

}  // namespace fse

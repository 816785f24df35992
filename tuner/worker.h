#pragma once
#include <functional>
#include <memory>

#include "tuner/workbench.h"

namespace fse {

// The worker's side: answers one line after the other, see worker_messages.h, until `in` ends. The
// device is opened by the first request, so that a failure to do so is an answer.
void serve_requests(int in, int out, const std::function<std::unique_ptr<Workbench>()>& open);

}  // namespace fse

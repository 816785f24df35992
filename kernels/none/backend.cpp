#include "kernels/hip/backend.h"
#include "core/error.h"

// In the place of kernels/hip where it is not compiled: FSELAB_GPU=none.
namespace fse {

std::unique_ptr<Backend> open_hip_backend(int, const BackendConfig&) {
  throw Error(ErrorKind::environment,
              "this fselab was built without GPU support: build it with FSELAB_GPU=hip or cuda");
}

std::vector<std::string> hip_device_names() {
  return {};
}

std::string describe_gpus() {
  return "hip: not usable: built without GPU support (FSELAB_GPU=none)\n";
}

}  // namespace fse

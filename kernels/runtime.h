#pragma once
// The only host header that knows the vendor: everything else spells HIP. On NVIDIA each name in
// use is mapped to the CUDA runtime; a name that is not mapped does not compile, which is wanted.
// The runtime's library functions replace the driver API, so that the program starts on a machine
// without a driver and says so. Included by kernels/hip alone.
#if defined(FSELAB_GPU_CUDA)
#include <cuda_runtime_api.h>
#elif defined(FSELAB_GPU_HIP)
#include <hip/hip_runtime_api.h>
#else
#error "kernels/runtime.h needs FSELAB_GPU=hip or FSELAB_GPU=cuda"
#endif

#include <cstdint>
#include <source_location>
#include <string>
#include <utility>

namespace fse {

#if defined(FSELAB_GPU_CUDA)
using hipError_t = cudaError_t;
using hipStream_t = cudaStream_t;
using hipEvent_t = cudaEvent_t;
using hipGraph_t = cudaGraph_t;
using hipGraphExec_t = cudaGraphExec_t;
using hipModule_t = cudaLibrary_t;
using hipFunction_t = cudaKernel_t;
using hipDeviceProp_t = cudaDeviceProp;

inline constexpr auto hipSuccess = cudaSuccess;
inline constexpr auto hipErrorOutOfMemory = cudaErrorMemoryAllocation;
inline constexpr auto hipErrorInvalidValue = cudaErrorInvalidValue;
inline constexpr auto hipErrorInvalidConfiguration = cudaErrorInvalidConfiguration;
inline constexpr auto hipErrorLaunchOutOfResources = cudaErrorLaunchOutOfResources;
inline constexpr auto hipErrorNotSupported = cudaErrorNotSupported;
inline constexpr auto hipErrorCooperativeLaunchTooLarge = cudaErrorCooperativeLaunchTooLarge;
inline constexpr auto hipMemcpyHostToDevice = cudaMemcpyHostToDevice;
inline constexpr auto hipMemcpyDeviceToHost = cudaMemcpyDeviceToHost;
inline constexpr auto hipMemcpyDeviceToDevice = cudaMemcpyDeviceToDevice;
inline constexpr auto hipStreamNonBlocking = cudaStreamNonBlocking;
inline constexpr auto hipStreamCaptureModeThreadLocal = cudaStreamCaptureModeThreadLocal;
inline constexpr auto hipEventDisableTiming = cudaEventDisableTiming;
inline constexpr auto hipEventDefault = cudaEventDefault;
inline constexpr auto hipDeviceAttributeMultiprocessorCount = cudaDevAttrMultiProcessorCount;
inline constexpr auto hipDeviceAttributeWarpSize = cudaDevAttrWarpSize;
inline constexpr auto hipDeviceAttributeMaxThreadsPerBlock = cudaDevAttrMaxThreadsPerBlock;
inline constexpr auto hipDeviceAttributeL2CacheSize = cudaDevAttrL2CacheSize;
inline constexpr auto hipDeviceAttributeCooperativeLaunch = cudaDevAttrCooperativeLaunch;
inline constexpr auto hipDeviceAttributeClockRate = cudaDevAttrClockRate;
inline constexpr auto hipDeviceAttributeMemoryClockRate = cudaDevAttrMemoryClockRate;
inline constexpr auto hipDeviceAttributeMemoryBusWidth = cudaDevAttrGlobalMemoryBusWidth;
// What a block may have after asking for it, which load_kernel's users do: see allow_lds().
inline constexpr auto hipDeviceAttributeMaxSharedMemoryPerBlock =
    cudaDevAttrMaxSharedMemoryPerBlockOptin;

inline constexpr auto& hipGetErrorName = cudaGetErrorName;
inline constexpr auto& hipGetErrorString = cudaGetErrorString;
inline constexpr auto& hipGetLastError = cudaGetLastError;
inline constexpr auto& hipGetDeviceCount = cudaGetDeviceCount;
inline constexpr auto& hipSetDevice = cudaSetDevice;
inline constexpr auto& hipGetDeviceProperties = cudaGetDeviceProperties;
inline constexpr auto& hipDeviceGetAttribute = cudaDeviceGetAttribute;
inline constexpr auto& hipDriverGetVersion = cudaDriverGetVersion;
inline constexpr auto& hipMemGetInfo = cudaMemGetInfo;
inline constexpr auto& hipMalloc = cudaMalloc;
inline constexpr auto& hipFree = cudaFree;
inline constexpr auto& hipMemcpy = cudaMemcpy;
inline constexpr auto& hipMemcpyAsync = cudaMemcpyAsync;
inline constexpr auto& hipMemsetAsync = cudaMemsetAsync;
inline constexpr auto& hipStreamCreateWithFlags = cudaStreamCreateWithFlags;
inline constexpr auto& hipStreamDestroy = cudaStreamDestroy;
inline constexpr auto& hipStreamSynchronize = cudaStreamSynchronize;
inline constexpr auto& hipStreamWaitEvent = cudaStreamWaitEvent;
inline constexpr auto& hipStreamBeginCapture = cudaStreamBeginCapture;
inline constexpr auto& hipStreamEndCapture = cudaStreamEndCapture;
inline constexpr auto& hipEventCreateWithFlags = cudaEventCreateWithFlags;
inline constexpr auto& hipEventDestroy = cudaEventDestroy;
inline constexpr auto& hipEventRecord = cudaEventRecord;
inline constexpr auto& hipEventSynchronize = cudaEventSynchronize;
inline constexpr auto& hipEventElapsedTime = cudaEventElapsedTime;
inline constexpr auto& hipGraphDestroy = cudaGraphDestroy;
inline constexpr auto& hipGraphLaunch = cudaGraphLaunch;
inline constexpr auto& hipGraphExecDestroy = cudaGraphExecDestroy;
inline constexpr auto& hipModuleUnload = cudaLibraryUnload;
inline constexpr auto& hipModuleGetFunction = cudaLibraryGetKernel;

inline hipError_t hipModuleLoadData(hipModule_t* module, const void* image) {
  return cudaLibraryLoadData(module, image, nullptr, nullptr, 0, nullptr, nullptr, 0);
}
inline hipError_t instantiate(hipGraphExec_t* exec, hipGraph_t graph) {
  return cudaGraphInstantiate(exec, graph, 0);
}
inline hipError_t upload(hipGraphExec_t exec, hipStream_t stream) {
  return cudaGraphUpload(exec, stream);
}
inline std::string arch_of(const hipDeviceProp_t& p) {
  return "sm_" + std::to_string(p.major) + std::to_string(p.minor);
}
// Beyond 48 KB a kernel has to ask.
inline hipError_t allow_lds(hipFunction_t kernel, int bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}
inline hipError_t launch_with(const cudaLaunchAttribute* attribute, hipFunction_t kernel,
                              unsigned blocks, unsigned threads, unsigned lds_bytes,
                              hipStream_t stream, void** params) {
  cudaLaunchConfig_t config{};
  config.gridDim = {blocks, 1, 1};
  config.blockDim = {threads, 1, 1};
  config.dynamicSmemBytes = lds_bytes;
  config.stream = stream;
  cudaLaunchAttribute copy{};
  if (attribute) copy = *attribute;
  config.attrs = &copy;
  config.numAttrs = attribute ? 1 : 0;
  return cudaLaunchKernelExC(&config, kernel, params);
}
inline hipError_t launch(hipFunction_t kernel, unsigned blocks, unsigned threads,
                         unsigned lds_bytes, bool dependent, hipStream_t stream, void** params) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  return launch_with(dependent ? &overlap : nullptr, kernel, blocks, threads, lds_bytes, stream,
                     params);
}
// All blocks resident at once, or an error: they may wait for each other.
inline hipError_t launch_cooperative(hipFunction_t kernel, unsigned blocks, unsigned threads,
                                     unsigned lds_bytes, hipStream_t stream, void** params) {
  cudaLaunchAttribute together{};
  together.id = cudaLaunchAttributeCooperative;
  together.val.cooperative = 1;
  return launch_with(&together, kernel, blocks, threads, lds_bytes, stream, params);
}
inline constexpr bool kCooperativeModules = true;
inline hipError_t blocks_per_unit(int* blocks, hipFunction_t kernel, int threads, int lds_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, threads,
                                                       static_cast<size_t>(lds_bytes));
}
inline constexpr const char* kRuntimeName = "CUDA";
#else
inline hipError_t instantiate(hipGraphExec_t* exec, hipGraph_t graph) {
  return hipGraphInstantiate(exec, graph, nullptr, nullptr, 0);
}
inline hipError_t upload(hipGraphExec_t, hipStream_t) {
  return hipSuccess;  // HIP 5.2 has no such call
}
inline std::string arch_of(const hipDeviceProp_t& p) {
  const std::string name = p.gcnArchName;  // "gfx90a:sramecc+:xnack-"
  return name.substr(0, name.find(':'));
}
inline hipError_t allow_lds(hipFunction_t, int) {
  return hipSuccess;  // a kernel has what the device has
}
inline hipError_t launch(hipFunction_t kernel, unsigned blocks, unsigned threads,
                         unsigned lds_bytes, bool /*dependent: no such launch*/, hipStream_t stream,
                         void** params) {
  return hipModuleLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, lds_bytes, stream, params,
                               nullptr);
}
// HIP 5 launches only kernels of the program itself cooperatively, not those of a module.
#if HIP_VERSION >= 60000000
inline hipError_t launch_cooperative(hipFunction_t kernel, unsigned blocks, unsigned threads,
                                     unsigned lds_bytes, hipStream_t stream, void** params) {
  return hipModuleLaunchCooperativeKernel(kernel, blocks, 1, 1, threads, 1, 1, lds_bytes, stream,
                                          params);
}
inline constexpr bool kCooperativeModules = true;
#else
inline hipError_t launch_cooperative(hipFunction_t, unsigned, unsigned, unsigned, hipStream_t,
                                     void**) {
  return hipErrorNotSupported;
}
inline constexpr bool kCooperativeModules = false;
#endif
inline hipError_t blocks_per_unit(int* blocks, hipFunction_t kernel, int threads, int lds_bytes) {
  return hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel, threads,
                                                            static_cast<size_t>(lds_bytes));
}
inline constexpr const char* kRuntimeName = "HIP";
#endif

// Throws AttemptError where a call failed: out_of_memory and launch_failed (a configuration the
// device does not take) leave it usable; crashed means that it is lost to this process.
void check_gpu(hipError_t error, const char* call,
               std::source_location at = std::source_location::current());
#define FSE_GPU(call) ::fse::check_gpu((call), #call)

// Owns a handle; movable, destroyed once. A failing destructor has nobody to tell: what failed
// before it has been reported.
template <class T, auto destroy>
class GpuHandle {
 public:
  GpuHandle() = default;
  explicit GpuHandle(T value) : value_(value) {}
  ~GpuHandle() {
    if (value_) static_cast<void>(destroy(value_));
  }
  GpuHandle(GpuHandle&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  GpuHandle& operator=(GpuHandle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  GpuHandle(const GpuHandle&) = delete;  // one owner
  GpuHandle& operator=(const GpuHandle&) = delete;
  T get() const { return value_; }
  explicit operator bool() const { return value_ != nullptr; }

 private:
  T value_ = nullptr;
};

// Their functions may be overloaded or mapped, so each is called by a plain one of one argument.
inline hipError_t destroy_stream(hipStream_t s) {
  return hipStreamDestroy(s);
}
inline hipError_t destroy_event(hipEvent_t e) {
  return hipEventDestroy(e);
}
inline hipError_t destroy_graph(hipGraphExec_t g) {
  return hipGraphExecDestroy(g);
}
inline hipError_t unload_module(hipModule_t m) {
  return hipModuleUnload(m);
}
inline hipError_t free_memory(void* p) {
  return hipFree(p);
}
using Stream = GpuHandle<hipStream_t, destroy_stream>;
using Event = GpuHandle<hipEvent_t, destroy_event>;
using GraphExec = GpuHandle<hipGraphExec_t, destroy_graph>;
using Module = GpuHandle<hipModule_t, unload_module>;
using DeviceMemory = GpuHandle<void*, free_memory>;

Stream make_stream();
Event make_event(bool timed);
DeviceMemory allocate(int64_t bytes);  // AttemptError(out_of_memory) names the size
double elapsed_us(const Event& from, const Event& to);  // waits for `to`

}  // namespace fse

#include "kernels/hip/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/outcome.h"
#include "kernels/gpu/device_weights.h"
#include "kernels/gpu/layer.h"

namespace fse {

namespace {

int attribute(int index, decltype(hipDeviceAttributeWarpSize) which) {
  int value = 0;
  FSE_GPU(hipDeviceGetAttribute(&value, which, index));
  return value;
}

}  // namespace

DeviceInfo query_gpu(int index) {
  hipDeviceProp_t properties{};
  FSE_GPU(hipGetDeviceProperties(&properties, index));
  const std::string arch = arch_of(properties);
  DeviceInfo info = typical_gpu(arch);
  info.name = fmt::format("hip:{}", index);
  info.product = properties.name;
  info.compute_units = attribute(index, hipDeviceAttributeMultiprocessorCount);
  info.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  info.llc_bytes = gpu_llc_bytes(arch, attribute(index, hipDeviceAttributeL2CacheSize));
  info.lds_bytes = attribute(index, hipDeviceAttributeMaxSharedMemoryPerBlock);
  info.wave = attribute(index, hipDeviceAttributeWarpSize);
  info.block_threads = attribute(index, hipDeviceAttributeMaxThreadsPerBlock);
  info.experts_fused =
      kCooperativeModules && attribute(index, hipDeviceAttributeCooperativeLaunch) != 0;
  return info;
}

std::optional<std::string> find_blas(const std::string& arch, std::string& why) {
  try {
    return to_text(open_blas(arch));
  } catch (const Error& error) {  // the GPU works without
    why = error.what();
    return std::nullopt;
  }
}

HipDevice::HipDevice(int index, const BackendConfig& config)
    : index_(index),
      info_((use(), query_gpu(index))),
      jit_({.headers = read_device_headers(config.device_dir), .cache_dir = config.cache_dir},
           info_.arch),
      compile_threads_(config.compile_threads),
      main_(make_stream()),
      side_(make_stream()) {
  std::string why;
  info_.library = find_blas(info_.arch, why);
}

void HipDevice::use() const {
  FSE_GPU(hipSetDevice(index_));
}

void HipDevice::copy(void* to, const void* from, int64_t bytes,
                     decltype(hipMemcpyHostToDevice) kind) const {
  FSE_GPU(hipMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, main_.get()));
  FSE_GPU(hipStreamSynchronize(main_.get()));
}

void HipDevice::compile(const std::vector<JitRequest>& requests) {
  std::vector<JitRequest> wanted;
  for (const JitRequest& request : requests) {
    const std::string& name = request.expression;
    const bool known = kernels_.contains(name) || compiled_.contains(name);
    if (!known && std::find(wanted.begin(), wanted.end(), request) == wanted.end())
      wanted.push_back(request);
  }
  std::vector<Compiled> results = jit_.compile_all(wanted, compile_threads_);
  for (size_t i = 0; i < wanted.size(); ++i)
    compiled_.emplace(wanted[i].expression, std::move(results[i]));
}

const LoadedKernel& HipDevice::load(const JitRequest& request, int lds_bytes) {
  auto it = kernels_.find(request.expression);
  if (it == kernels_.end()) {
    compile({request});
    auto node = compiled_.extract(request.expression);
    if (const auto* failed = std::get_if<CompileFailed>(&node.mapped()))
      throw AttemptError(Status::compile_failed, failed->reason);
    const auto& object = std::get<CodeObject>(node.mapped());
    hipModule_t module = nullptr;
    FSE_GPU(hipModuleLoadData(&module, object.image.data()));
    LoadedKernel kernel{Module(module), nullptr, object.resources};
    FSE_GPU(hipModuleGetFunction(&kernel.function, module, object.lowered_name.c_str()));
    it = kernels_.emplace(request.expression, std::move(kernel)).first;
  }
  LoadedKernel& kernel = it->second;
  if (lds_bytes > kernel.lds_allowed) {  // the same instance may be launched with more or less
    FSE_GPU(allow_lds(kernel.function, lds_bytes));
    kernel.lds_allowed = lds_bytes;
  }
  return kernel;
}

std::shared_ptr<const BlasHandle> HipDevice::blas() {
  if (!blas_) blas_ = std::make_shared<const BlasHandle>(open_blas(info_.arch));
  return blas_;
}

namespace {

struct Interval {
  const std::byte *begin, *end;
  WeightPart::Kind kind;
};

std::vector<Interval> merged(std::vector<Interval> list) {
  std::sort(list.begin(), list.end(),
            [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  std::vector<Interval> result;
  for (const Interval& next : list) {
    if (!result.empty() && next.begin <= result.back().end && next.kind == result.back().kind)
      result.back().end = std::max(result.back().end, next.end);
    else
      result.push_back(next);
  }
  return result;
}

// To the device, converted on the way where its fp8 is another, a piece at a time.
void copy_part(const HipDevice& gpu, std::byte* device, const Interval& part, Fp8 fp8) {
  constexpr int64_t kPiece = 64 << 20;
  const int64_t bytes = part.end - part.begin;
  if (fp8 != Fp8::e4m3fnuz || part.kind == WeightPart::Kind::plain)
    return gpu.copy(device, part.begin, bytes, hipMemcpyHostToDevice);
  for (int64_t at = 0; at < bytes; at += kPiece) {
    const int64_t size = std::min(kPiece, bytes - at);
    std::vector<std::byte> piece(part.begin + at, part.begin + at + size);
    convert_part(part.kind, fp8, piece);
    gpu.copy(device + at, piece.data(), size, hipMemcpyHostToDevice);
  }
}

}  // namespace

DeviceCopy::DeviceCopy(const HipDevice& gpu, const std::vector<LayerWeights>& sets) {
  std::vector<Interval> list;
  for (const LayerWeights& set : sets) {
    for (const WeightPart& part : weight_parts(set))
      list.push_back({part.begin, part.begin + part.bytes, part.kind});
    owners_.push_back(set.owner);
  }
  for (const Interval& part : merged(std::move(list))) {
    const int64_t bytes = part.end - part.begin;
    const auto offset = static_cast<int64_t>(reinterpret_cast<uintptr_t>(part.begin) % 256);
    DeviceMemory memory = allocate(bytes + offset);
    auto* device = static_cast<std::byte*>(memory.get()) + offset;
    copy_part(gpu, device, part, fp8_of(gpu.info().arch));
    ranges_.push_back({part.begin, bytes, std::move(memory), device});
  }
}

const void* DeviceCopy::find(const void* host) const {
  if (!host) return nullptr;
  const auto* at = static_cast<const std::byte*>(host);
  for (const Range& range : ranges_)
    if (at >= range.host && at < range.host + range.bytes) return range.device + (at - range.host);
  throw std::logic_error("a weight that was not uploaded");
}

std::shared_ptr<const DeviceCopy> HipDevice::upload(const std::vector<LayerWeights>& sets) {
  std::vector<const std::byte*> key;
  for (const LayerWeights& set : sets) key.insert(key.end(), {set.router, set.gate_up, set.down});
  std::erase_if(copies_, [](const auto& entry) { return entry.second.expired(); });
  for (const auto& [known, copy] : copies_)
    if (known == key)
      if (auto shared = copy.lock()) return shared;
  auto copy = std::make_shared<const DeviceCopy>(*this, sets);
  copies_.emplace_back(std::move(key), copy);
  return copy;
}

}  // namespace fse

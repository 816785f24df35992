#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "core/names.h"

namespace fse {

// Tables of tuned kernels that other programs write.
enum class ExchangeFormat {
  vllm,          // vLLM, SGLang: {"16": {"BLOCK_SIZE_M": 16, ...}}, one entry per batch size
  aiter,         // AITER tuned_fmoe.csv
  fair_space,    // FAIR T1: the axes of a space
  fair_results,  // FAIR T4: every configuration with its runtimes
};
template <>
inline constexpr NameTable<ExchangeFormat, 4> kNames<ExchangeFormat>{
    {{ExchangeFormat::vllm, "vllm"},
     {ExchangeFormat::aiter, "aiter"},
     {ExchangeFormat::fair_space, "fair-t1"},
     {ExchangeFormat::fair_results, "fair-t4"}}};

struct ForeignRow {
  std::string key;                 // what the row was tuned for: alike keys are duplicates
  std::string fields;              // JSON as it was written, of a CSV the array of its cells
  std::string kind;                // "" = of a kind fselab has, else what is foreign about it
  std::vector<std::string> flags;  // why the row cannot be believed
};

// A file as it was, row by row: write_foreign() gives the same text again.
struct ForeignTable {
  ExchangeFormat format = ExchangeFormat::vllm;
  std::string name;    // of the file, without its folder
  std::string header;  // JSON: all that is not a row
  std::vector<ForeignRow> rows;
  std::vector<std::string> duplicates;  // "row 7 repeats row 3: KEY"
};

// The format is taken from the content. Throws Error(data) "NAME: ..." for text of no format, with
// a key twice in one object, a row with too few columns, or a number that is none.
ForeignTable read_foreign(std::string_view text, const std::string& name);

// Byte for byte what was read.
std::string write_foreign(const ForeignTable&);

// A file name without folders, blanks or characters that a shell or a file system takes for itself:
// "AMD Instinct MI300X/OAM" becomes "AMD_Instinct_MI300X_OAM".
std::string sanitized_device_name(const std::string&);
// "E=512,N=256,device_name=NVIDIA_H100,dtype=fp8_w8a8,block_shape=[128,128].json"; dtype and block
// shape only where they are not empty.
std::string vllm_file_name(int experts, int intermediate, const std::string& device_name,
                           const std::string& dtype, const std::string& block_shape);

}  // namespace fse

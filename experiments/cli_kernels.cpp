#include "experiments/cli_kernels.h"

#include <memory>

#include "experiments/assembly_command.h"
#include "experiments/compile_sweep.h"
#include "experiments/inventory.h"
#include "experiments/kernels_command.h"
#include "experiments/paths.h"

namespace fse {
namespace {

void add_kernel_subject(CLI::App& command, KernelSubject& subject) {
  command.add_option("--model", subject.model, "A preset's name or a Hugging Face config.json")
      ->capture_default_str();
  command.add_option("--dtype", subject.dtype, "bf16 | f16 | fp8_block128 | f32")
      ->capture_default_str();
  command.add_option("--tokens", subject.tokens, "Rows in the batch")->capture_default_str();
  command.add_option("--arch,--device", subject.arch, "GPU kernels: sm_90, gfx90a, gfx942, ...")
      ->capture_default_str();
}

void add_kernel_assembly(CLI::App& kernels, std::function<int()>& action) {
  const auto kept = std::make_shared<AssemblyOptions>();
  CLI::App* command = kernels.add_subcommand(
      "assembly",
      "Compile default tiles and a sample for gfx90a, gfx942 or gfx950; read the assembly");
  command->add_option("--arch,--device", kept->arch, "gfx90a, gfx942 or gfx950")
      ->capture_default_str();
  CLI::Option* compared = command->add_flag(
      "--check", kept->check, "Compare with configs/assembly; exit 1 where something got worse");
  command
      ->add_flag("--table", kept->table,
                 "Compile nothing: print the kernels x architectures of configs/assembly")
      ->excludes(compared);
  command->callback(
      [kept, &action] { action = [kept] { return run_assembly(*kept, configs_dir()); }; });
}

void add_kernel_show(CLI::App& kernels, std::function<int()>& action) {
  const auto kept = std::make_shared<ShowOptions>();
  CLI::App* show = kernels.add_subcommand("show", "One kernel: its axes, tiles and an instance");
  show->add_option("kernel", kept->kernel, "Its name, as kernels ls prints it")->required();
  add_kernel_subject(*show, kept->subject);
  show->add_option("--tile", kept->subject.tile, "Axes to change: 'warps=8 ring=3'");
  show->add_flag("--tiles", kept->tiles, "Also every legal tile, the default first");
  show->add_flag("--source", kept->source, "Also its device header");
  show->add_flag("--assembly", kept->assembly, "Also its instructions");
  show->callback([kept, &action] {
    action = [kept] {
      show_kernel(*kept, configs_dir());
      return 0;
    };
  });
}

void add_kernel_compile(CLI::App& kernels, std::function<int()>& action) {
  const auto kept = std::make_shared<CompileOptions>();
  const auto swept = std::make_shared<CompileSweepOptions>();
  CLI::App* compile = kernels.add_subcommand(
      "compile", "Compile a layer's GPU kernels; needs NVRTC or hipRTC, not a GPU");
  add_kernel_subject(*compile, kept->subject);
  compile->add_flag("--all", kept->all_tiles, "Every legal tile, not the default ones");
  CLI::Option* sweep = compile->add_option(
      "--sweep", swept->sweep, "What a run of this sweep tries, instead of one layer's");
  compile->add_option("--set", swept->overrides, "KEY=VALUE of the sweep, e.g. tokens=[1,4]")
      ->allow_extra_args(false)
      ->needs(sweep);
  compile
      ->add_option("--likely", swept->likely,
                   "Of each step of the sweep only the default and so many that a search begins "
                   "with; 0: all")
      ->check(CLI::Range(0, 1000000))
      ->needs(sweep);
  compile
      ->add_option("--shard", swept->shard,
                   "I/N: only this part of the sweep's instances; N processes have no lock in "
                   "common, as NVRTC's threads do")
      ->needs(sweep);
  compile->callback([kept, swept, &action] {
    action = [kept, swept] {
      if (swept->sweep.empty()) return compile_kernels(*kept, configs_dir());
      swept->arch = kept->subject.arch;
      return compile_sweep(*swept);
    };
  });
}

}  // namespace

void add_inventory(CLI::App& app, std::function<int()>& action) {
  CLI::App* devices = app.add_subcommand("devices", "The devices of this machine");
  devices->footer("Example: fselab devices");
  devices->callback([&] {
    action = [] {
      print_devices();
      return 0;
    };
  });
  CLI::App* kernels = app.add_subcommand("kernels", "The catalogue of kernels and their tiles");
  kernels->require_subcommand(1);
  CLI::App* list = kernels->add_subcommand("ls", "Every kernel: its op, device, axes and values");
  kernels->footer("Example: fselab kernels show hip.topk --arch gfx90a");
  add_kernel_show(*kernels, action);
  add_kernel_assembly(*kernels, action);
  add_kernel_compile(*kernels, action);
  list->callback([&] {
    action = [] {
      print_kernels();
      return 0;
    };
  });
}

}  // namespace fse

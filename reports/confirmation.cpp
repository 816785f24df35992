#include "reports/confirmation.h"

namespace fse {
namespace {

const VariantResult* partner_of(const WorkloadResult& w, const VariantResult& fastest) {
  for (const VariantResult& v : w.variants)
    if (&v != &fastest && v.layer && v.layer->run == fastest.layer->run &&
        v.layer->confirm_us.size() == fastest.layer->confirm_us.size())
      return &v;
  return nullptr;
}

}  // namespace

bool Confirmation::contradicts() const {
  return contradict(race.verdict, fresh.verdict);
}

std::optional<Confirmation> confirmation_of(const WorkloadResult& w, double delta) {
  const VariantResult* fastest = w.fastest();
  if (!fastest || fastest->layer->confirm_us.empty()) return {};
  Confirmation c{.fastest = fastest,
                 .partner = partner_of(w, *fastest),
                 .again = summarize(fastest->layer->confirm_us),
                 .fresh = {},
                 .race = {}};
  if (!c.partner) return c;
  c.fresh = compare_paired(fastest->layer->confirm_us, c.partner->layer->confirm_us, delta);
  c.race = compare_paired(fastest->layer->outcome.samples_us, c.partner->layer->outcome.samples_us,
                          delta);
  return c;
}

}  // namespace fse

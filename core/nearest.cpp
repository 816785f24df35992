#include "core/nearest.h"

#include <algorithm>
#include <cctype>

namespace fse {
namespace {

std::string folded(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

struct Distance {
  size_t whole;   // to all of b
  size_t prefix;  // to the nearest beginning of b
};

// Optimal string alignment: insert, delete, replace, swap of two neighbours.
Distance edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return {above[b.size()], *std::min_element(above.begin(), above.end())};
}

// One edit in three characters still reads as a slip; more reads as another word. A name given by
// its beginning ("qwen3-next") is meant however long the rest is, with one edit in six characters.
bool is_near(const std::string& text, const std::string& candidate, Distance distance) {
  if (text.size() >= 3 && distance.prefix <= text.size() / 6) return true;
  const size_t longer = std::max(text.size(), candidate.size());
  return distance.whole <= std::max<size_t>(1, longer / 3) && distance.whole < longer;
}

constexpr size_t kLongestName = 256;  // the distance is quadratic, and no name is longer

}  // namespace

std::string nearest_name(std::string_view text, const std::vector<std::string>& candidates) {
  if (text.empty() || text.size() > kLongestName) return "";
  const std::string wanted = folded(text);
  std::string best;
  size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    if (candidate.empty() || candidate.size() > kLongestName) continue;
    const Distance distance = edit_distance(wanted, folded(candidate));
    if (!is_near(wanted, folded(candidate), distance)) continue;
    if (!best.empty() && distance.whole >= best_distance) continue;
    best = candidate;
    best_distance = distance.whole;
  }
  return best;
}

std::string did_you_mean(std::string_view text, const std::vector<std::string>& candidates) {
  const std::string name = nearest_name(text, candidates);
  return name.empty() ? "" : " (did you mean '" + name + "'?)";
}

}  // namespace fse

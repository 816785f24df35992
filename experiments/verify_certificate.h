#pragma once
#include <span>
#include <string>

#include "core/names.h"
#include "core/statistics.h"

namespace fse {

// What this machine says of a certificate's claims.
enum class CertificateAnswer { confirmed, refuted, undecided };
template <>
inline constexpr NameTable<CertificateAnswer, 3> kNames<CertificateAnswer>{
    {{CertificateAnswer::confirmed, "CONFIRMED"},
     {CertificateAnswer::refuted, "REFUTED"},
     {CertificateAnswer::undecided, "UNDECIDED"}}};

// One claim: its verdict as written, and as measured now.
struct CheckedClaim {
  std::string against;
  Verdict claimed = Verdict::invalid, now = Verdict::invalid;
};
struct CertificateVerdict {
  CertificateAnswer answer = CertificateAnswer::undecided;
  std::string why;
};
// Refuted where any decided claim has another decided verdict now; confirmed where all decided
// claims have theirs again; else undecided: also where nothing decided was claimed, and where the
// winner's `control` of this race says that it is FASTER or SLOWER than itself.
CertificateVerdict judge_claims(std::span<const CheckedClaim>, Verdict control);

struct CertificateOptions {
  std::string file;
  std::string device = "auto";  // auto: the one that the certificate names
};
// Measures winner, incumbent, runner-up and the winner's default tiles again, in the same rounds,
// after each was verified. Exit code: 0 confirmed, 1 refuted, 4 undecided. Throws Error(data) for a
// file that was tampered with.
int verify_certificate(const CertificateOptions&);

}  // namespace fse

#pragma once

namespace fse {

// From here on Ctrl-C and SIGTERM ask to stop after the attempt at hand; a second Ctrl-C ends at
// once (nothing finished is lost: every attempt is committed when it ends).
void catch_interrupts();
bool interrupted();

}  // namespace fse

#pragma once

namespace fse {

// From here on Ctrl-C, SIGTERM and the terminal's end (SIGHUP, unless it is ignored: nohup) ask to
// stop after the attempt at hand; a second one ends at once (nothing finished is lost: every
// attempt is committed when it ends).
void catch_interrupts();
bool interrupted();

}  // namespace fse

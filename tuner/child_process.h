#pragma once
#include <sys/types.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace fse {

// A child in a process group of its own that answers lines with lines. It is killed with all it
// started when it takes too long, and when this object ends.
class ChildProcess {
 public:
  explicit ChildProcess(
      const std::vector<std::string>& command);  // Error(environment): no such file
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;  // one owner
  ChildProcess& operator=(const ChildProcess&) = delete;

  enum class End { answered, ended, late, stopped };
  // Sends a line and waits for the answer's, at most `seconds` and until `stop` says so. After
  // anything but `answered` the child is dead.
  End ask(const std::string& line, double seconds, std::string& answer,
          const std::function<bool()>& stop = {});
  // How it died: "signal 6 (Aborted)", "exit code 3".
  const std::string& death() const { return death_; }
  // The last lines it wrote to standard error, joined by " | ".
  std::string last_words() const;
  void kill();

 private:
  struct CloseFile {
    void operator()(FILE* file) const { std::fclose(file); }
  };
  bool send(const std::string& line) const;
  void bury();

  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;                  // our ends of its pipes
  std::unique_ptr<FILE, CloseFile> errors_;  // its standard error, a file without a name
  std::string received_, death_;
};

// For the child: dies with its parent, leaves no core file, and keeps its standard output for
// answers alone: what a library prints goes to standard error. The descriptor to answer on, or -1
// where `parent` is gone already; 0 stands for whoever it is.
int begin_child(pid_t parent);

}  // namespace fse

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>

#include "core/store_sql.h"
#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

namespace {

// Runs `work` in a process of its own; the exit status it returns, or 99 for an exception.
pid_t in_child(const std::function<int()>& work) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  int status = 99;
  try {
    status = work();
  } catch (const std::exception& e) {
    (void)!write(2, e.what(), strlen(e.what()));
  }
  _exit(status);
}

int exit_status(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

std::vector<CaseRecord> one_case() {
  return {{sample_case(), true, CaseState::pending, ""}};
}

// A closed database of a few hundred pages.
void fill(const std::filesystem::path& file, int attempts = 100) {
  Store store = Store::create_or_open(file);
  const int64_t environment = store.add_environment(sample_environment());
  const int64_t study = store.add_study(sample_study(), one_case());
  for (int i = 0; i < attempts; ++i)
    record(store, study, environment, step_attempt(), verified_outcome(10 + i));
}

void overwrite(const std::filesystem::path& file, std::streamoff at, const std::string& bytes) {
  std::fstream f(file, std::ios::binary | std::ios::in | std::ios::out);
  f.seekp(at);
  f << bytes;
}

std::string write_error(const std::filesystem::path& file) {
  return error_of([&] { Store::create_or_open(file); });
}

std::string read_error(const std::filesystem::path& file) {
  return error_of([&] {
    const Store store = Store::open_read_only(file);
    for (const auto& s : store.studies()) store.cases(s.id);
    store.step_attempts(step_attempt().step_key, step_attempt().workload, 1);
  });
}

}  // namespace

TEST_CASE("what is not a fselab database is named, in writing and in reading") {
  const TemporaryFolder folder;
  const auto text = folder / "notes.db", other = folder / "other.db", newer = folder / "newer.db";
  std::ofstream(text) << "These are not the pages you are looking for.\n";
  SQLite::Database(other.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
      .exec("CREATE TABLE mine (x)");
  fill(newer, 1);
  SQLite::Database(newer.string(), SQLite::OPEN_READWRITE).exec("PRAGMA user_version = 99");
  for (const auto& error : {write_error(text), read_error(text)})
    CHECK(error == "5: " + text.string() + ": not an SQLite file, expected a fselab database");
  for (const auto& error : {write_error(other), read_error(other)}) {
    CHECK(contains(error, "5: " + other.string() + ": an SQLite database of another program"));
    CHECK(contains(error, "expected fselab's 0x66736c62"));
  }
  for (const auto& error : {write_error(newer), read_error(newer)})
    CHECK(contains(error, "schema version 99, expected 1 to " + std::to_string(kSchemaVersion) +
                              " (written by a newer fselab)"));
  CHECK(count(*std::make_unique<SQLite::Database>(other.string()), "mine") == 0);
}

TEST_CASE("missing files and folders are usage errors, and reading creates nothing") {
  const TemporaryFolder folder;
  const auto missing = folder / "none.db", empty = folder / "empty.db";
  CHECK(contains(read_error(missing), "2: " + missing.string() + ": no such file"));
  CHECK_FALSE(std::filesystem::exists(missing));
  CHECK(contains(write_error(folder / "no/such.db"), "2: "));
  CHECK(contains(write_error(folder / ""), "2: "));
  std::ofstream{empty};
  CHECK(contains(read_error(empty), "5: " + empty.string() + ": an empty database"));
  CHECK(write_error(empty) == "");  // mktemp makes such files
}

TEST_CASE("damage is an error, never a crash") {
  const TemporaryFolder folder;
  const auto whole = folder / "whole.db", damaged = folder / "damaged.db";
  fill(whole);
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(whole));
  const auto renew = [&] {
    std::filesystem::copy_file(whole, damaged, std::filesystem::copy_options::overwrite_existing);
  };
  for (const int64_t kept : {int64_t{10}, int64_t{100}, int64_t{4096}, bytes / 2, bytes - 4096}) {
    CAPTURE(kept);
    renew();
    std::filesystem::resize_file(damaged, static_cast<uintmax_t>(kept));
    CHECK(contains(write_error(damaged), "5: " + damaged.string()));
    CHECK(contains(read_error(damaged), "5: " + damaged.string()));
  }
  for (const int64_t at : {int64_t{0}, int64_t{18}, int64_t{100}}) {
    CAPTURE(at);
    renew();
    overwrite(damaged, at, std::string(16, '\x7f'));
    CHECK(contains(write_error(damaged), "5: " + damaged.string()));
    CHECK(contains(read_error(damaged), "5: " + damaged.string()));
  }
  for (int64_t page = 1; page < bytes / 4096; page += 5) {
    CAPTURE(page);
    renew();
    overwrite(damaged, page * 4096, std::string(4096, '\0'));
    CHECK(contains(write_error(damaged), "5: " + damaged.string()));
    const std::string reading = read_error(damaged);  // only what it reads can be found damaged
    CHECK((reading.empty() || contains(reading, "5: " + damaged.string())));
  }
}

TEST_CASE("B37: eight processes open a new file at once") {
  for (int repeat = 0; repeat < 5; ++repeat) {
    const TemporaryFolder folder;
    const auto file = folder / "new.db";
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i)
      children.push_back(in_child([&, i] {
        Store store = Store::create_or_open(file);
        const int64_t environment = store.add_environment(sample_environment());
        const int64_t study = store.add_study(sample_study(), one_case());
        record(store, study, environment, step_attempt(), verified_outcome(10 + i));
        return 0;
      }));
    for (const pid_t child : children) CHECK(exit_status(child) == 0);
    const Store store = Store::open_read_only(file);
    CHECK(store.studies().size() == 1);
    CHECK(store.step_attempts(step_attempt().step_key, step_attempt().workload, 1).size() == 8);
    CHECK(count(store.database(), "run") == 8);
    CHECK(store.database().execAndGet("PRAGMA journal_mode").getString() == "wal");
  }
}

TEST_CASE("kill -9 at any moment loses nothing that was committed") {
  const TemporaryFolder folder;
  const auto file = folder / "killed.db";
  std::mt19937 random(1);
  int64_t committed = 0;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = in_child([&] {
      Store store = Store::create_or_open(file);
      const int64_t environment = store.add_environment(sample_environment());
      const int64_t study = store.add_study(sample_study(), one_case());
      while (true) {
        record(store, study, environment, step_attempt(), verified_outcome(10));
        if (write(ends[1], "x", 1) != 1) return 1;  // one byte per committed attempt
      }
    });
    close(ends[1]);
    char byte;
    const int wanted = std::uniform_int_distribution(1, 10)(random);
    for (int i = 0; i < wanted; ++i) committed += read(ends[0], &byte, 1) == 1;
    usleep(std::uniform_int_distribution(0u, 2000u)(random));
    kill(child, SIGKILL);
    CHECK(exit_status(child) == -SIGKILL);
    while (read(ends[0], &byte, 1) == 1) ++committed;
    close(ends[0]);

    CAPTURE(round);
    Store store = Store::create_or_open(file);  // runs quick_check
    CHECK(count(store.database(), "attempt WHERE status = 'measured'") >= committed);
    CHECK(count(store.database(),
                "attempt WHERE status = 'measured' AND n <> (SELECT count(*) "
                "FROM sample WHERE attempt = attempt.id)") == 0);
    committed = count(store.database(), "attempt WHERE status = 'measured'");
    store.add_study(sample_study(), one_case());
    CHECK(count(store.database(), "attempt WHERE status = 'running'") == 0);
  }
}

TEST_CASE("B39: readers and a writer do not disturb each other") {
  const TemporaryFolder folder;
  const auto file = folder / "shared.db";
  fill(file, 1);
  const Store reader = Store::open_read_only(file);
  auto slow = query(reader.database(), "SELECT * FROM sample", {});
  REQUIRE(slow.executeStep());  // a read transaction stays open all the while
  const pid_t writer = in_child([&] {
    Store store = Store::create_or_open(file);
    for (int i = 0; i < 20; ++i) record(store, 1, 1, step_attempt(), verified_outcome(10 + i));
    return 0;
  });
  CHECK(exit_status(writer) == 0);
  int64_t rows = 1;
  while (slow.executeStep()) ++rows;
  CHECK(rows == 25);  // its snapshot
  slow.reset();
  CHECK(count(reader.database(), "attempt") == 21);

  Store refused = Store::open_read_only(file);
  CHECK(contains(error_of([&] { refused.begin_attempt(1, 1, step_attempt()); }), "3: "));
}

TEST_CASE("a full disk is an environment error and loses nothing committed") {
  const TemporaryFolder folder;
  const auto file = folder / "full.db";
  const auto fill_disk = [&](Store& store) {
    for (int i = 0; i < 10'000; ++i) record(store, 1, 1, step_attempt(), verified_outcome(10));
  };
  fill(file, 1);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1'000'000, 1'000'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    Store store = Store::create_or_open(file);
    const std::string error = error_of([&] { fill_disk(store); });
    const int64_t done = count(store.database(), "attempt WHERE status = 'measured'");
    if (write(ends[1], &done, sizeof done) != sizeof done) return 1;
    return contains(error, "3: " + file.string()) ? 0 : 2;
  });
  int64_t done = 0;
  CHECK(read(ends[0], &done, sizeof done) == sizeof done);
  CHECK(exit_status(child) == 0);
  CHECK(done > 10);
  Store store = Store::create_or_open(file);
  CHECK(count(store.database(), "attempt WHERE status = 'measured'") == done);

  store.database().exec("PRAGMA max_page_count = " +
                        store.database().execAndGet("PRAGMA page_count").getString());
  CHECK(contains(error_of([&] { fill_disk(store); }), "full"));
  store.database().exec("PRAGMA max_page_count = 1000000");
  record(store, 1, 1, step_attempt(), verified_outcome(10));  // room again: it goes on
}

TEST_CASE("B38: network file systems are known by their numbers") {
  CHECK(network_file_system(0x6969) == "NFS");
  CHECK(network_file_system(0xff534d42) == "CIFS");
  CHECK(network_file_system(static_cast<int32_t>(0xff534d42)) == "CIFS");  // as a signed word
  CHECK(network_file_system(0xef53) == "");                                // ext4
  CHECK(network_file_system(0x58465342) == "");                            // xfs
  CHECK(network_file_system(0x01021994) == "");                            // tmpfs
}

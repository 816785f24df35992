#include "core/store.h"

#include <SQLiteCpp/Savepoint.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/vfs.h>

#include <chrono>
#include <fstream>
#include <system_error>
#include <thread>

#include "core/store_sql.h"

namespace fse {

namespace fs = std::filesystem;

void throw_store_error(const SQLite::Exception& e, const std::string& file,
                       std::string_view doing) {
  const std::string what = fmt::format("{}: {}: {}", file, doing, e.what());
  switch (e.getErrorCode()) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_FORMAT:
      fail_data(what + "; expected an undamaged fselab database");
    case SQLITE_FULL:
    case SQLITE_IOERR:
      throw Error(ErrorKind::environment,
                  what + "; expected room to write (what was committed is kept)");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw Error(ErrorKind::environment,
                  fmt::format("{}; another process has held the file's lock for {} s", what,
                              kBusyMilliseconds / 1000));
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_NOMEM:
    case SQLITE_PROTOCOL:
      throw Error(ErrorKind::environment, what);
    default:
      fail_data(what);
  }
}

// From linux/magic.h and the file systems' own sources.
std::string network_file_system(int64_t f_type) {
  switch (static_cast<uint32_t>(f_type)) {
    case 0x6969:
      return "NFS";
    case 0x517b:
      return "SMB";
    case 0xff534d42:
      return "CIFS";
    case 0xfe534d42:
      return "SMB2";
    case 0x01021997:
      return "9P";
    case 0x65735546:
      return "FUSE";  // sshfs and virtiofs among them: which one is not told
    case 0x73757245:
      return "Coda";
    case 0x5346414f:
      return "AFS";
    case 0x00c36400:
      return "Ceph";
    case 0x0bd00bd0:
      return "Lustre";
    case 0x19830326:
      return "BeeGFS";
    case 0x47504653:
      return "GPFS";
    case 0x7461636f:
      return "OCFS2";
    case 0x01161970:
      return "GFS2";
    default:
      return "";
  }
}

namespace {

// Catches what SQLite would overwrite or misread: the first page says what the file is.
void require_sqlite_header(const fs::path& file) {
  if (fs::is_directory(file))
    fail_usage(fmt::format("{}: is a directory, expected a fselab database", file.string()));
  std::ifstream in(file, std::ios::binary);
  if (!in)
    throw Error(ErrorKind::environment,
                fmt::format("{}: cannot be read, expected a readable file", file.string()));
  char header[16] = {};
  in.read(header, sizeof header);
  if (in.gcount() == 0) return;  // SQLite takes an empty file for an empty database
  if (std::string_view(header, sizeof header) != std::string_view("SQLite format 3\0", 16))
    fail_data(fmt::format("{}: not an SQLite file, expected a fselab database", file.string()));
}

int pragma_int(SQLite::Database& db, const char* pragma) {
  return db.execAndGet(fmt::format("PRAGMA {}", pragma)).getInt();
}

// True when the schema is there, false for a database without any content.
bool has_schema(SQLite::Database& db) {
  const std::string& file = db.getFilename();
  // One snapshot, or the schema another process commits in between looks like another program's.
  SQLite::Savepoint snapshot(db, "has_schema");
  const int application = pragma_int(db, "application_id");
  const int version = pragma_int(db, "user_version");
  const int tables = db.execAndGet("SELECT count(*) FROM sqlite_schema").getInt();
  snapshot.release();
  if (application == 0 && version == 0 && tables == 0) return false;
  if (application != kApplicationId)
    fail_data(
        fmt::format("{}: an SQLite database of another program (application_id {:#x}), "
                    "expected fselab's {:#x}",
                    file, application, kApplicationId));
  if (version < 1 || version > kSchemaVersion)
    fail_data(fmt::format("{}: schema version {}, expected 1 to {}{}", file, version,
                          kSchemaVersion,
                          version > kSchemaVersion ? " (written by a newer fselab)" : ""));
  return true;
}

// Other processes may do the same at the same moment: the loser of the lock finds it done.
void create_schema(SQLite::Database& db) {
  SQLite::Transaction transaction(db, SQLite::TransactionBehavior::EXCLUSIVE);
  if (has_schema(db)) return;
  for (int version = 1; version <= kSchemaVersion; ++version) db.exec(schema_statements(version));
  db.exec(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId,
                      kSchemaVersion));
  transaction.commit();
}

// SQLite does not wait by itself for the exclusive lock that a change of journal needs.
void set_journal_mode(SQLite::Database& db, const std::string& mode) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(kBusyMilliseconds);
  while (true) {
    try {
      if (db.execAndGet("PRAGMA journal_mode").getString() == mode) return;
      db.execAndGet("PRAGMA journal_mode = " + mode);
      return;
    } catch (const SQLite::Exception& e) {
      if (e.getErrorCode() != SQLITE_BUSY || std::chrono::steady_clock::now() > deadline) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

void require_current(SQLite::Database& db) {
  const int version = pragma_int(db, "user_version");
  if (version < kSchemaVersion)
    fail_usage(
        fmt::format("{0}: schema version {1}, expected {2}; fselab db migrate --db {0} "
                    "leads there and keeps a backup",
                    db.getFilename(), version, kSchemaVersion));
}

void require_undamaged(SQLite::Database& db) {
  const std::string finding = db.execAndGet("PRAGMA quick_check(1)").getString();
  if (finding != "ok")
    fail_data(fmt::format("{}: damaged: {}, expected a database that passes quick_check",
                          db.getFilename(), finding));
}

std::unique_ptr<SQLite::Database> connect(const std::string& name, int flags) {
  auto db = std::make_unique<SQLite::Database>(name, flags, kBusyMilliseconds);
  db->exec("PRAGMA foreign_keys = ON");
  return db;
}

// A reader of a WAL file needs its -shm beside it. Where the folder is not writable and nobody
// writes, the file can be taken as it is.
std::unique_ptr<SQLite::Database> connect_for_reading(const fs::path& file) {
  try {
    auto db = connect(file.string(), SQLite::OPEN_READONLY);
    pragma_int(*db, "user_version");
    return db;
  } catch (const SQLite::Exception& e) {
    const fs::path wal = file.string() + "-wal";
    std::error_code none;
    const bool content_in_wal = fs::exists(wal, none) && fs::file_size(wal, none) > 0;
    const bool no_shm = e.getErrorCode() == SQLITE_CANTOPEN || e.getErrorCode() == SQLITE_READONLY;
    if (!no_shm || content_in_wal) throw;
  }
  std::string uri = "file:";
  for (const char c : fs::absolute(file).string())
    uri += c == '%' || c == '?' || c == '#' ? fmt::format("%{:02x}", c) : std::string(1, c);
  return connect(uri + "?immutable=1", SQLite::OPEN_READONLY | SQLite::OPEN_URI);
}

}  // namespace

Store::Store(std::unique_ptr<SQLite::Database> db, std::string file, std::string warning)
    : db_(std::move(db)), file_(std::move(file)), warning_(std::move(warning)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Store Store::create_or_open(const fs::path& file) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::error_code none;
  if (!fs::is_directory(folder, none))
    fail_usage(
        fmt::format("{}: its folder does not exist, expected an existing folder", file.string()));
  if (fs::exists(file, none)) require_sqlite_header(file);
  return guarded(file.string(), "opening for writing", [&] {
    auto db = connect(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    if (!has_schema(*db)) create_schema(*db);
    require_current(*db);
    require_undamaged(*db);
    struct statfs where {};
    std::string network;
    if (::statfs(file.c_str(), &where) == 0) network = network_file_system(where.f_type);
    set_journal_mode(*db, network.empty() ? "wal" : "delete");
    // NORMAL: a killed process loses nothing; a power failure may lose the newest transactions, in
    // order, which the next run measures again. FULL would add an fsync to every tile tried.
    db->exec(network.empty() ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
    if (network.empty()) return Store(std::move(db), file.string(), "");
    return Store(
        std::move(db), file.string(),
        fmt::format("{}: on a network file system ({}): a rollback journal is used instead "
                    "of WAL, so that readers and the writer wait for each other; a local "
                    "disk is safer and faster",
                    file.string(), network));
  });
}

Store Store::open_read_only(const fs::path& file) {
  std::error_code none;
  if (!fs::exists(file, none))
    fail_usage(
        fmt::format("{}: no such file, expected a fselab database (fselab run SWEEP --db {} "
                    "creates it)",
                    file.string(), file.string()));
  require_sqlite_header(file);
  return guarded(file.string(), "opening for reading", [&] {
    auto db = connect_for_reading(file);
    if (!has_schema(*db))
      fail_data(fmt::format("{}: an empty database, expected fselab's tables", file.string()));
    return Store(std::move(db), file.string(), "");
  });
}

fs::path Store::migrate(const fs::path& file) {
  const int from = pragma_int(open_read_only(file).database(), "user_version");
  if (from == kSchemaVersion) return {};
  const fs::path backup = fmt::format("{}.v{}.bak", file.string(), from);
  if (fs::exists(backup))
    fail_usage(
        fmt::format("{}: exists, expected no backup of an earlier migration", backup.string()));
  return guarded(file.string(), "migrating", [&] {
    auto db = connect(file.string(), SQLite::OPEN_READWRITE);
    require_undamaged(*db);
    query(*db, "VACUUM INTO ?", {backup.string()}).exec();
    SQLite::Transaction transaction(*db, SQLite::TransactionBehavior::EXCLUSIVE);
    for (int version = pragma_int(*db, "user_version") + 1; version <= kSchemaVersion; ++version)
      db->exec(schema_statements(version));
    db->exec(fmt::format("PRAGMA user_version = {}", kSchemaVersion));
    transaction.commit();
    return backup;
  });
}

int64_t Store::collect_garbage(const fs::path& file) {
  open_read_only(file);  // a mistyped name makes no file
  Store store = create_or_open(file);
  return guarded(file.string(), "collecting garbage", [&] {
    SQLite::Transaction transaction(*store.db_, SQLite::TransactionBehavior::IMMEDIATE);
    store.close_interrupted();
    transaction.commit();
    const auto before = static_cast<int64_t>(fs::file_size(file));
    store.db_->exec("VACUUM");
    store.db_->exec("ANALYZE");
    store.db_->exec("PRAGMA wal_checkpoint(TRUNCATE)");
    return before - static_cast<int64_t>(fs::file_size(file));
  });
}

SQLite::Database& Store::database() const {
  return *db_;
}

}  // namespace fse

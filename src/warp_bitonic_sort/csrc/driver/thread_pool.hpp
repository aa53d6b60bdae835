// Spreads a range of independent items over the machine's cores.
//
// Invariant: the caller's thread always takes part, so that a call finishes even if no other thread
// runs. A forked child starts a pool of its own. OpenMP is not used: libgomp's pool does not
// survive fork(), and a child would wait for threads that do not exist.
#ifndef WARP_BITONIC_SORT_DRIVER_THREAD_POOL_HPP_
#define WARP_BITONIC_SORT_DRIVER_THREAD_POOL_HPP_

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>

namespace warp_bitonic_sort::driver {

/// The number of cores that this process may run on.
inline int core_count() {
#ifdef __linux__
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return std::max(CPU_COUNT(&cores), 1);
#endif
  return std::max(static_cast<int>(std::thread::hardware_concurrency()), 1);
}

// Not a function's static variable: a child that is forked while another thread initializes it
// would wait for ever.
inline std::atomic<int> thread_count_setting{core_count()};

/// The number of threads to use, the caller's included.
inline int thread_count() { return thread_count_setting.load(std::memory_order_relaxed); }
inline void set_thread_count(int count) {
  thread_count_setting.store(std::max(count, 1), std::memory_order_relaxed);
}

class ThreadPool {
 public:
  /// The process's pool; its threads start with the first call that needs them.
  static ThreadPool& instance() {
    ThreadPool* pool = current().load(std::memory_order_acquire);
    if (pool == nullptr) {
      // Never destroyed: at exit its threads may still be waiting on it.
      auto* fresh = new ThreadPool();
      if (current().compare_exchange_strong(pool, fresh, std::memory_order_acq_rel)) return *fresh;
      delete fresh;
    }
    return *pool;
  }

  /// Calls work(first, last) on disjoint ranges that cover 0..count, none longer than grain, on at
  /// most `threads` threads. A concurrent second caller does all of its work on its own thread.
  template <class Work>
  void run(int64_t count, int64_t grain, int threads, const Work& work) {
    const int64_t pieces = (count + grain - 1) / grain;
    const int helpers = static_cast<int>(std::min<int64_t>(threads, pieces)) - 1;
    std::unique_lock<std::mutex> submitting(submit_, std::try_to_lock);
    if (helpers < 1 || !submitting.owns_lock()) {
      for (int64_t at = 0; at < count; at += grain) work(at, std::min(at + grain, count));
      return;
    }
    Job job{&work,
            [](const void* context, int64_t first, int64_t last) {
              (*static_cast<const Work*>(context))(first, last);
            },
            count, grain};
    {
      std::lock_guard<std::mutex> lock(mutex_);
      start_threads(helpers);
      job_ = &job;
      open_places_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    job.run_pieces();
    std::unique_lock<std::mutex> lock(mutex_);
    // No further thread joins. The job lives on this stack, so wait for those that have joined.
    open_places_ = 0;
    job_ = nullptr;
    done_.wait(lock, [this] { return active_ == 0; });
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  struct Job {
    const void* context;
    void (*call)(const void*, int64_t, int64_t);
    int64_t count;
    int64_t grain;
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr error{};  // the first one; read when every thread has left

    void run_pieces() {
      try {
        while (!failed.load(std::memory_order_relaxed)) {
          const int64_t first = next.fetch_add(grain, std::memory_order_relaxed);
          if (first >= count) return;
          call(context, first, std::min(first + grain, count));
        }
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  };

  static std::atomic<ThreadPool*>& current() {
    static std::atomic<ThreadPool*> pool{nullptr};
    return pool;
  }
  // Serves only its initializer, which runs once, when the library is loaded.
  static inline const int fork_handler_ =
      pthread_atfork(nullptr, nullptr, [] { current() = nullptr; });

  // Called with mutex_ held. If the system refuses a thread, the call has fewer helpers.
  void start_threads(int wanted) {
    while (threads_ < wanted) {
      try {
        std::thread([this] { serve(); }).detach();
      } catch (const std::exception&) {
        return;
      }
      ++threads_;
    }
  }

  void serve() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (open_places_ == 0) continue;
      --open_places_;
      ++active_;
      Job* job = job_;
      lock.unlock();
      job->run_pieces();
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex submit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  Job* job_ = nullptr;
  uint64_t generation_ = 0;
  int threads_ = 0;
  int open_places_ = 0;
  int active_ = 0;
};

}  // namespace warp_bitonic_sort::driver

#endif  // WARP_BITONIC_SORT_DRIVER_THREAD_POOL_HPP_

/**
 * How the process of an agent is set up, for whoever starts one: settings that only the start can give.
 *
 * An agent's memory is mostly buffers outside the heap. Left alone, the C library keeps large ones that were freed for later
 * (its threshold for giving memory back grows by itself), and V8's young generation grows to tens of MiB: together some 150
 * MiB for nothing under load.
 */
export const NODE_FLAGS = ["--disable-warning=ExperimentalWarning", "--max-semi-space-size=4"]

export const ENVIRONMENT = {
  /** File operations hang where a bucket's directory hangs, and each holds a thread of the pool (Node's default is four). */
  UV_THREADPOOL_SIZE: "32",
  /** Larger pieces of memory go back to the system when they are freed (glibc). */
  MALLOC_MMAP_THRESHOLD_: String(1024 * 1024)
}

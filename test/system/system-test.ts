/**
 * What a system test is: a name, what it needs on the machine, and a function that throws when something is wrong.
 *
 * A test owns nothing global. It works in `context.dir`, starts clusters through the context only (so that the runner
 * can end them), says by `onEnd` how to end what else it starts, and gives every step a deadline.
 */
import { type Cluster, type ClusterOptions } from "./harness.ts"
import { type Need } from "./requirements.ts"

export interface SystemTest {
  readonly name: string
  readonly needs: readonly Need[]
  /** The whole test fails after so long; every step inside has a deadline of its own too. */
  readonly deadlineMs: number
  readonly run: (context: Context) => Promise<void>
}

export interface Context {
  /** An empty folder of this test. */
  readonly dir: string
  /** A figure or a remark for whoever reads the output. */
  readonly say: (line: string) => void
  readonly startCluster: (options?: ClusterOptions) => Promise<Cluster>
  /** To be called when the test is over, however it ended: after its clusters have stopped, the last one first. */
  readonly onEnd: (end: () => Promise<void>) => void
}

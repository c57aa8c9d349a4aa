/** The port of metrics that keeps what an agent lets be observed, so that checkers can look at it. */
import { Effect, Layer } from "effect"
import { Metrics, type ObservedName } from "#core/telemetry/metrics.ts"

export class Gauges {
  readonly #reads = new Map<ObservedName, () => Iterable<{ readonly value: number }>>()

  /** The sum of its values; 0 where nobody observes it. */
  value(name: ObservedName): number {
    let sum = 0
    for (const { value } of this.#reads.get(name)?.() ?? []) sum += value
    return sum
  }

  readonly layer: Layer.Layer<Metrics> = Layer.effect(
    Metrics,
    Effect.map(Metrics, (noop) =>
      Metrics.of({
        ...noop,
        observe: (name, read) =>
          Effect.sync(() => {
            this.#reads.set(name, read)
          })
      })
    )
  ).pipe(Layer.provide(Metrics.layerNoop))
}

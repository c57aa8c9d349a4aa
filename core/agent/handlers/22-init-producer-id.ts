/**
 * InitProducerId (key 22), v0-5.
 *
 * Without a transactional id: a fresh producer id with epoch 0, also where the client sends the id it has (v3+, KIP-360: an
 * idempotent-only producer bumps its epoch by itself and asks again only when that is exhausted).
 * Deliberate gap: transactions are not there yet; a transactional id is answered with UNSUPPORTED_VERSION, which clients
 * report at once instead of retrying.
 */
import { Effect } from "effect"
import { InitProducerId } from "#core/protocol/api/22-init-producer-id.ts"
import { defineHandler } from "../handler.ts"
import { errorOfCommand, KAFKA } from "../kafka-error.ts"

/** What stands for no producer id and for no epoch. */
const NONE = -1

const refusal = (errorCode: number) => ({ throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 })

export const initProducerId = defineHandler(InitProducerId, ({ producerIds }) => (request) => {
  if (request.transactionalId === "") return Effect.succeed(refusal(KAFKA.INVALID_REQUEST))
  // An id without its epoch, or the other way round, is a client's mistake: nothing could be bumped.
  if ((request.producerId === NONE) !== (request.producerEpoch === NONE)) {
    return Effect.succeed(refusal(KAFKA.INVALID_REQUEST))
  }
  if (request.transactionalId !== null) return Effect.succeed(refusal(KAFKA.UNSUPPORTED_VERSION))
  return Effect.match(producerIds.next, {
    onSuccess: (producerId) => ({ throttleTimeMs: 0, errorCode: KAFKA.NONE, producerId, producerEpoch: 0 }),
    onFailure: (error) => refusal(errorOfCommand(error))
  })
})

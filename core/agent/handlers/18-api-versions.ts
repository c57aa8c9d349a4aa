/**
 * ApiVersions (key 18), v0-4.
 *
 * The ranges are Kafka 4.3's own, floors included: librdkafka up to 2.11 enables features only where fixed old versions lie
 * inside the range, and needs Produce to begin at 0 (KAFKA-18659). An unknown version is answered with a v0 body, error 35
 * and this API's own range (KIP-511); the dispatcher does that, since there is no request to decode.
 * v3+ carries the client's software name and version, which must look sane (KIP-511).
 * Deliberate gap: no features are named as supported or finalized until transactions and the new group protocol exist, so
 * that no client selects them. v5 (KIP-1242) is not advertised.
 */
import { Effect } from "effect"
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { type AdvertisedVersions, advertisedVersions } from "#core/protocol/registry.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { defineHandler } from "../handler.ts"
import { KAFKA } from "../kafka-error.ts"

const SOFTWARE = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/

/** Answer to a version of this API that is not known, in version 0. */
export const unsupportedApiVersions = () => ({
  errorCode: KAFKA.UNSUPPORTED_VERSION,
  apiKeys: advertisedVersions.filter((each) => each.apiKey === ApiVersions.key),
  throttleTimeMs: 0
})

/** The answer of a listener that serves these APIs. */
export const answerApiVersions = (
  apiKeys: ReadonlyArray<AdvertisedVersions>,
  request: RequestOf<typeof ApiVersions>,
  apiVersion: number
): Effect.Effect<ResponseInput<typeof ApiVersions>> => {
  const isSane = (value: string) => apiVersion < 3 || SOFTWARE.test(value)
  if (!isSane(request.clientSoftwareName) || !isSane(request.clientSoftwareVersion)) {
    return Effect.succeed({ errorCode: KAFKA.INVALID_REQUEST, apiKeys: [], throttleTimeMs: 0 })
  }
  return Effect.succeed({
    errorCode: KAFKA.NONE,
    apiKeys,
    throttleTimeMs: 0,
    supportedFeatures: [],
    finalizedFeaturesEpoch: 0,
    finalizedFeatures: []
  })
}

export const apiVersions = defineHandler(
  ApiVersions,
  () =>
    (request, { apiVersion }) =>
      answerApiVersions(advertisedVersions, request, apiVersion)
)

/**
 * 18 ApiVersions, versions 0-4, flexible from 3.
 *
 *   request  => client_software_name(3+) client_software_version(3+)
 *   response => error_code [api_keys] throttle_time_ms(1+) <supported_features> <finalized_features_epoch>
 *               <finalized_features> <zk_migration_ready>(3+)
 *     api_keys => api_key min_version max_version
 *     supported_features => name min_version max_version
 *     finalized_features => name max_version_level min_version_level
 *
 * Its response header is version 0 in every version, so that a client can read the answer to a version that the server
 * does not know: then the body is version 0 with error 35 (KIP-511). From 4 on features may begin at version 0.
 */
import { api, array, bool, int16, int32, int64, string } from "../schema.ts"

export const ApiVersions = api({
  key: 18,
  name: "ApiVersions",
  versions: "0-4",
  flexible: "3+",
  request: {
    clientSoftwareName: string("3+", { ignorable: true }),
    clientSoftwareVersion: string("3+", { ignorable: true })
  },
  response: {
    errorCode: int16(),
    apiKeys: array({
      apiKey: int16(),
      minVersion: int16(),
      maxVersion: int16()
    }),
    throttleTimeMs: int32("1+", { ignorable: true }),
    supportedFeatures: array(
      "3+",
      { tag: 0, ignorable: true },
      {
        name: string(),
        minVersion: int16(),
        maxVersion: int16()
      }
    ),
    finalizedFeaturesEpoch: int64("3+", { tag: 1, default: -1, ignorable: true }),
    finalizedFeatures: array(
      "3+",
      { tag: 2, ignorable: true },
      {
        name: string(),
        maxVersionLevel: int16(),
        minVersionLevel: int16()
      }
    ),
    zkMigrationReady: bool("3+", { tag: 3, default: false, ignorable: true })
  }
})

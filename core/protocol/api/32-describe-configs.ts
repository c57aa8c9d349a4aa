/**
 * 32 DescribeConfigs, versions 1-4, flexible from 4.
 *
 *   request  => [resources] include_synonyms include_documentation(3+)
 *     resources => resource_type resource_name [configuration_keys]        null: all keys
 *   response => throttle_time_ms [results]
 *     results => error_code error_message resource_type resource_name [configs]
 *       configs  => name value read_only config_source is_sensitive [synonyms] config_type(3+) documentation(3+)
 *       synonyms => name value source
 *
 * Resource types: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
 */
import { api, array, bool, int16, int32, int8, string } from "../schema.ts"

export const DescribeConfigs = api({
  key: 32,
  name: "DescribeConfigs",
  versions: "1-4",
  flexible: "4+",
  request: {
    resources: array({
      resourceType: int8(),
      resourceName: string(),
      configurationKeys: array({ nullable: true }, string())
    }),
    includeSynonyms: bool({ default: false }),
    includeDocumentation: bool("3+", { default: false })
  },
  response: {
    throttleTimeMs: int32({ default: 0 }),
    results: array({
      errorCode: int16(),
      errorMessage: string({ nullable: true }),
      resourceType: int8(),
      resourceName: string(),
      configs: array({
        name: string(),
        value: string({ nullable: true }),
        readOnly: bool(),
        configSource: int8({ default: -1, ignorable: true }),
        isSensitive: bool(),
        synonyms: array(
          { ignorable: true },
          {
            name: string(),
            value: string({ nullable: true }),
            source: int8()
          }
        ),
        configType: int8("3+", { default: 0, ignorable: true }),
        documentation: string("3+", { nullable: true, ignorable: true })
      })
    })
  }
})

/**
 * Texts of errors as clients get them [pure]. They quote what the client sent, which may be as long as a string of the
 * protocol can be: a text is cut, or the answer that holds it could not be encoded.
 */
import { limits } from "#core/model/limits.ts"

export const errorMessageOf = (text: string): string =>
  text.length <= limits.errorMessageLengthMax ? text : `${text.slice(0, limits.errorMessageLengthMax)} …`

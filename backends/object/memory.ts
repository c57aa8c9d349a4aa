/**
 * An object store in the process's memory: for tests, simulation, and agents that need to keep nothing.
 *
 * Invariant: it keeps the port's contract as strictly as the durable adapters do (bodies are copied in and out, keys
 * that are directories of others are refused), so that what passes on it does not fail on them. It does all in one
 * step, with no promise and no clock: a simulation on it stays deterministic.
 */
import { Effect } from "effect"
import { type ByteRange, type ObjectHead, type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { bytesOf } from "./chunk-bytes.ts"
import {
  type ObjectOperation,
  deleteFault,
  getFault,
  invalidRequest,
  keyFault,
  listFault,
  putFault
} from "./request-check.ts"
import { resolveRange } from "./object-range.ts"

export const make = (options: { readonly bucket: string }): ObjectStore => {
  const { bucket } = options
  const objects = new Map<string, Buffer>()
  /** How many keys lie below each directory. */
  const directories = new Map<string, number>()

  const fail = (
    operation: ObjectOperation,
    key: string,
    reason: "AlreadyExists" | "NotFound" | "RangeNotSatisfiable"
  ) =>
    Effect.fail(
      new ObjectStoreError({
        reason,
        outcome: "definite",
        operation,
        bucket,
        key,
        cause: new Error(`${reason}: ${key}`)
      })
    )
  const refuse = (operation: ObjectOperation, key: string, fault: string) =>
    Effect.fail(invalidRequest({ operation, bucket, key, fault }))

  const put = (key: string, chunks: ReadonlyArray<Uint8Array>) =>
    Effect.suspend(() => {
      const fault = putFault(key, chunks) ?? directoryFault(key, objects, directories)
      if (fault !== undefined) return refuse("put", key, fault)
      if (objects.has(key)) return fail("put", key, "AlreadyExists")
      objects.set(key, copyOf(chunks))
      for (const directory of directoriesOf(key)) directories.set(directory, (directories.get(directory) ?? 0) + 1)
      return Effect.void
    })

  const get = (key: string, range?: ByteRange) =>
    Effect.suspend(() => {
      const fault = getFault(key, range)
      if (fault !== undefined) return refuse("get", key, fault)
      const body = objects.get(key)
      if (body === undefined) return fail("get", key, "NotFound")
      const part = resolveRange(range, body.length)
      if (part === undefined) return fail("get", key, "RangeNotSatisfiable")
      const bytes = copyOf([body.subarray(part.offset, part.offset + part.length)])
      return Effect.succeed({ bytes, objectBytes: body.length })
    })

  const head = (key: string) =>
    Effect.suspend(() => {
      const fault = keyFault(key)
      if (fault !== undefined) return refuse("head", key, fault)
      const body = objects.get(key)
      return body === undefined ? fail("head", key, "NotFound") : Effect.succeed({ key, objectBytes: body.length })
    })

  const list: ObjectStore["list"] = (request) =>
    Effect.suspend(() => {
      const fault = listFault(request)
      if (fault !== undefined) return refuse("list", request.prefix, fault)
      return Effect.succeed(listOf(objects, request))
    })

  const deleteMany = (keys: ReadonlyArray<string>) =>
    Effect.suspend(() => {
      const fault = deleteFault(keys)
      if (fault !== undefined) return refuse("delete", keys[0] ?? "", fault)
      for (const key of keys) {
        if (!objects.delete(key)) continue
        for (const directory of directoriesOf(key)) leaveDirectory(directories, directory)
      }
      return Effect.void
    })

  return { bucket, put, get, head, list, deleteMany }
}

/** In memory of its own, so that it is no view that keeps a larger block alive. */
const copyOf = (chunks: ReadonlyArray<Uint8Array>): Buffer => {
  const body = Buffer.allocUnsafeSlow(bytesOf(chunks))
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}

const listOf = (
  objects: ReadonlyMap<string, Buffer>,
  request: { readonly prefix: string; readonly after?: string; readonly limit: number }
): ReadonlyArray<ObjectHead> => {
  const { prefix, after, limit } = request
  const keys: Array<string> = []
  for (const key of objects.keys()) {
    if (key.startsWith(prefix) && (after === undefined || key > after)) keys.push(key)
  }
  // Keys are ASCII: the order of strings is that of their bytes.
  keys.sort()
  return keys.slice(0, limit).map((key) => ({ key, objectBytes: objects.get(key)!.length }))
}

const directoriesOf = (key: string): ReadonlyArray<string> => {
  const directories: Array<string> = []
  for (let at = key.indexOf("/"); at >= 0; at = key.indexOf("/", at + 1)) directories.push(key.slice(0, at))
  return directories
}

const leaveDirectory = (directories: Map<string, number>, directory: string): void => {
  const left = directories.get(directory)! - 1
  if (left === 0) directories.delete(directory)
  else directories.set(directory, left)
}

const directoryFault = (
  key: string,
  objects: ReadonlyMap<string, Buffer>,
  directories: ReadonlyMap<string, number>
): string | undefined => {
  if (directories.has(key)) return `key "${key}" is a directory of other keys`
  const object = directoriesOf(key).find((directory) => objects.has(directory))
  return object === undefined ? undefined : `"${object}" is an object: no key can lie below it`
}

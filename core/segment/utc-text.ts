/**
 * Times as people read them, in UTC [pure]. Done by hand because pure code does without Date (the lint cannot tell a
 * conversion from a look at the clock).
 */
import { assert } from "#core/model/assert.ts"

/** Last millisecond of the year 9999: up to it a year has four digits and a time in milliseconds at most fifteen. */
export const UTC_TEXT_MS_MAX = 253_402_300_799_999

/** ISO 8601: 2026-03-01T17:04:05.678Z, for times from 1970 to 9999. */
export const utcText = (timeMs: number): string => {
  const isTime = Number.isSafeInteger(timeMs) && timeMs >= 0 && timeMs <= UTC_TEXT_MS_MAX
  assert(isTime, `a time from 1970 to the year 9999 is expected, got ${timeMs}`)
  const days = Math.floor(timeMs / DAY_MS)
  const ms = timeMs - days * DAY_MS
  const hours = padded(Math.floor(ms / 3_600_000), 2)
  const minutes = padded(Math.floor(ms / 60_000) % 60, 2)
  const seconds = padded(Math.floor(ms / 1_000) % 60, 2)
  return `${dayText(days)}T${hours}:${minutes}:${seconds}.${padded(ms % 1_000, 3)}Z`
}

const DAY_MS = 24 * 3_600_000
/** From 1 March of the year 0 to 1 January 1970. */
const DAYS_BEFORE_1970 = 719_468
const DAYS_OF_400_YEARS = 146_097

/** Years are taken to begin in March, so that the leap day is the last of its year. */
const dayText = (daysSince1970: number): string => {
  const days = daysSince1970 + DAYS_BEFORE_1970
  const era = Math.floor(days / DAYS_OF_400_YEARS)
  const dayOfEra = days - era * DAYS_OF_400_YEARS
  const yearOfEra = yearOfDay(dayOfEra)
  const dayOfYear = dayOfEra - daysBeforeYear(yearOfEra)
  // From March on the months have 31 30 31 30 31 days, again and again: 153 days for five of them.
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const dayOfMonth = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1
  const month = ((monthFromMarch + 2) % 12) + 1
  const year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
  return `${padded(year, 4)}-${padded(month, 2)}-${padded(dayOfMonth, 2)}`
}

const daysBeforeYear = (year: number): number =>
  365 * year + Math.floor(year / 4) - Math.floor(year / 100) + Math.floor(year / 400)

const yearOfDay = (dayOfEra: number): number => {
  const guess = Math.min(399, Math.floor(dayOfEra / 365))
  return daysBeforeYear(guess) <= dayOfEra ? guess : guess - 1
}

const padded = (value: number, digits: number): string => String(value).padStart(digits, "0")

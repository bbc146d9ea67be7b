import {
  parsePhoneNumberFromString,
  isSupportedCountry,
  type CountryCode,
  type PhoneNumber
} from 'libphonenumber-js/max'
import { toAsciiDigits } from './digits.js'
import { invalidField, sentences } from './errors.js'

const notation = /^[\s\p{Nd}+＋().\-‐-―−－/·]{1,64}$/u

export const isRegion = (code: string): code is CountryCode => isSupportedCountry(code)

const separators = /[^\p{Nd}+＋]/gu
const e164 = /^\+[1-9][0-9]{1,14}$/

const MOBILE = new Set(['MOBILE', 'FIXED_LINE_OR_MOBILE'])
/** A prefix leaves out this many digits. */
const SUBSCRIBER_DIGITS = 6

/** A phone number, parsed. */
export interface Phone {
  e164: string
  /** Its country, or its calling code where that has no single country. */
  country: string
  /** The digits that it shares with its neighbours, never less than the calling code. */
  prefix: string
  /**
   * An assigned mobile number. Others (fixed, VoIP, pager, toll-free, premium) cost more than they help, and prove no
   * person (NIST SP 800-63B §5.1.3.3).
   */
  readonly isMobile: boolean
}

/**
 * The one place where a number becomes its normal form, E.164. Undefined unless the whole text is a possible phone
 * number, without an extension. A national number is read as one of `region`; digits of every script count by their
 * values. A result parses to itself, so that one phone never has two forms.
 */
export function parsePhone (text: string, region: string): Phone | undefined {
  if (!notation.test(text) || !isRegion(region)) return undefined
  const dialled = toAsciiDigits(text).replace(separators, '')
  const read = possible(dialled, region)
  if (!read || !e164.test(read.number)) return undefined
  const number = read.number === dialled ? read : possible(read.number, region)
  if (number?.number !== read.number) return undefined
  const callingCode = `+${number.countryCallingCode}`
  return {
    e164: number.number,
    country: number.country ?? callingCode,
    prefix: number.number.slice(0, Math.max(callingCode.length, number.number.length - SUBSCRIBER_DIGITS)),
    get isMobile () { return number.isValid() && MOBILE.has(number.getType() ?? '') }
  }
}

function possible (text: string, region: CountryCode): PhoneNumber | undefined {
  const phone = parsePhoneNumberFromString(text, { defaultCountry: region, extract: false })
  return phone?.isPossible() && phone.ext === undefined ? phone : undefined
}

/** The normal form alone; undefined as parsePhone. */
export const normalizePhone = (text: string, region: string): string | undefined => parsePhone(text, region)?.e164

/** Like parsePhone; throws a 400 that names `field`. */
export function requirePhone (text: string, region: string, field: string): Phone {
  const phone = parsePhone(text, region)
  if (phone === undefined) throw invalidField(field, sentences.phone)
  return phone
}

/** A number for logs and other readers: every digit but the last four is `*`, in any notation and script. */
export const maskPhone = (phone: string) => phone.replace(/\p{Nd}(?=(?:\P{Nd}*\p{Nd}){4})/gu, '*')

/** Text that may quote a whole number, such as a driver's error, with every such number masked. */
export const maskPhones = (text: string) => text.replace(/\+?\d{8,15}/g, maskPhone)

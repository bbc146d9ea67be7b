import { parsePhoneNumberFromString, isSupportedCountry, type CountryCode } from 'libphonenumber-js/max'
import { invalidField, sentences } from './errors.js'

const notation = /^[\s\p{Nd}+＋().\-‐-―−－/·]{1,64}$/u

export const isRegion = (code: string): code is CountryCode => isSupportedCountry(code)

const separators = /[^\p{Nd}+＋]/gu
const e164 = /^\+[1-9][0-9]{1,14}$/

/**
 * The one place where a number becomes its normal form, E.164. Undefined unless the whole text is a possible
 * phone number: no words around it, no extension. A national number is read as one of `region`.
 * What has been through here once comes back the same, so that one phone never has two forms.
 */
export function normalizePhone (text: string, region: string): string | undefined {
  if (!notation.test(text) || !isRegion(region)) return undefined
  const number = possible(text.replace(separators, ''), region)
  return number !== undefined && e164.test(number) && possible(number, region) === number ? number : undefined
}

function possible (text: string, region: CountryCode): string | undefined {
  const phone = parsePhoneNumberFromString(text, { defaultCountry: region, extract: false })
  return phone?.isPossible() && phone.ext === undefined ? phone.number : undefined
}

/** As normalizePhone; throws the 400 that names `field`. */
export function requirePhone (text: string, region: string, field: string): string {
  const phone = normalizePhone(text, region)
  if (phone === undefined) throw invalidField(field, sentences.phone)
  return phone
}

const MOBILE = new Set(['MOBILE', 'FIXED_LINE_OR_MOBILE'])
/** A prefix leaves out as many digits. */
const SUBSCRIBER_DIGITS = 6

/** Whether a text has a chance to arrive at a normal form: an assigned mobile number of one of `countries`. Others (fixed, VoIP, pager, toll-free, premium) are dearer than useful, and no proof of a person (NIST SP 800-63B §5.1.3.3). */
export function takesTexts (phone: string, countries: string[]): boolean {
  const number = parsePhoneNumberFromString(phone)
  return number?.country !== undefined && countries.includes(number.country) && number.isValid() && MOBILE.has(number.getType() ?? '')
}

/** Where a normal form belongs: its country, or its calling code where that is nobody's alone; and what it shares with its neighbours, never less than the calling code. */
export function regionOf (phone: string): { country: string, prefix: string } {
  const number = parsePhoneNumberFromString(phone)
  const callingCode = `+${number?.countryCallingCode ?? ''}`
  return { country: number?.country ?? callingCode, prefix: phone.slice(0, Math.max(callingCode.length, phone.length - SUBSCRIBER_DIGITS)) }
}

/** For people who may not see it, and for logs: every digit but the last four is `*`, in any notation and script. */
export const maskPhone = (phone: string) => phone.replace(/\p{Nd}(?=(?:\P{Nd}*\p{Nd}){4})/gu, '*')

/** Text that may quote a whole number, such as a driver's error, with every such number masked. */
export const maskPhones = (text: string) => text.replace(/\+?\d{8,15}/g, maskPhone)

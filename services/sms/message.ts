import type { Platform } from '../../schemas/auth.js'

export interface Wording {
  brand: string
  /** The 11-character hash of the Android app (Google SMS Retriever). */
  androidHash: string
  /** The host that a browser binds the code to (WICG "Origin-bound one-time codes"). */
  webOrigin?: string
}

/** Tells the old number that its account has a new one. It has no digit, so that nothing takes it for a code. */
export const numberChangedMessage = ({ brand }: Pick<Wording, 'brand'>) =>
  `Your ${brand} account now has another phone number. If this was not you, contact us.`

/** The body for one code. The code is its first run of 4 to 6 digits, and the mark for the platform comes last. */
export function smsMessage (code: string, platform: Platform, { brand, androidHash, webOrigin }: Wording): string {
  if (platform === 'ios') return `${code} is your ${brand} verification code.`
  const sentence = `Your ${brand} code is: ${code}`
  if (platform === 'web') return webOrigin ? `${sentence}\n@${webOrigin} #${code}` : sentence
  return `<#> ${sentence}\n${androidHash}`
}

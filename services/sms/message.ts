export type Platform = 'android' | 'ios' | 'web' | 'other'

export interface Wording {
  brand: string
  /** The 11-character hash of the Android app (Google SMS Retriever). */
  androidHash: string
  /** The host that a browser binds the code to (WICG "Origin-bound one-time codes"). */
  webOrigin?: string
}

/**
 * What tells a number that its account has another one from now on: without a digit, so that nothing takes it for a
 * code.
 */
export const numberChangedMessage = ({ brand }: Pick<Wording, 'brand'>) =>
  `Your ${brand} account now has another phone number. If this was not you, contact us.`

/**
 * The text for one code. The code is the first run of 4 to 6 digits in it, and what a platform looks for comes last.
 */
export function smsMessage (code: string, platform: Platform, { brand, androidHash, webOrigin }: Wording): string {
  if (platform === 'ios') return `${code} is your ${brand} verification code.`
  const sentence = `Your ${brand} code is: ${code}`
  if (platform === 'web') return webOrigin ? `${sentence}\n@${webOrigin} #${code}` : sentence
  return `<#> ${sentence}\n${androidHash}`
}

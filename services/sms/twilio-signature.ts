import twilio from 'twilio'

/**
 * Whether Twilio made a request to `path` (with its query) of this service at `publicUrl`: HMAC-SHA-1 of the URL and
 * the form, by the account's token ("Security", Twilio's manual).
 */
export function createSignatureCheck (authToken: string, publicUrl: string) {
  const origin = publicUrl.replace(/\/+$/, '')
  return (signature: string, path: string, form: Record<string, unknown>): boolean =>
    twilio.validateRequest(authToken, signature, origin + path, form)
}

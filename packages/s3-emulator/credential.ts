import { S3Error } from './errors.js'
import { equalText, scopeText, type Scope } from './signature.js'

export interface Credentials { accessKeyId: string, secretAccessKey: string }

export interface AuthOptions { credentials: Credentials, region: string, now: () => Date }

/** Reads `<access key>/<date>/<region>/<service>/aws4_request`, as requests and forms carry it. Throws `code`. */
export function parseCredential (text: string, code: string, prefix: string): { accessKeyId: string, scope: Scope } {
  const parts = text.split('/')
  const [terminal, service, region, date] = parts.splice(-4).reverse()
  if (parts.length === 0 || date === undefined || terminal !== 'aws4_request' || !/^\d{8}$/.test(date)) {
    throw new S3Error(
      code,
      `${prefix}; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`
    )
  }
  return { accessKeyId: parts.join('/'), scope: { date, region: region ?? '', service: service ?? '' } }
}

export function checkAccessKey (accessKeyId: string, { credentials }: AuthOptions): void {
  if (!equalText(accessKeyId, credentials.accessKeyId)) {
    throw new S3Error('InvalidAccessKeyId', undefined, { AWSAccessKeyId: accessKeyId })
  }
}

export function checkScope (scope: Scope, stamp: string, { region }: AuthOptions, code: string, prefix: string): void {
  if (scope.region !== region) {
    throw new S3Error(code, `${prefix}; the region '${scope.region}' is wrong; expecting '${region}'`, {
      Region: region
    })
  }
  if (scope.service !== 's3') {
    throw new S3Error(code, `${prefix}; incorrect service "${scope.service}". This endpoint belongs to "s3".`)
  }
  if (!stamp.startsWith(scope.date)) {
    throw new S3Error(
      code,
      `${prefix}; the date in the credential scope, ${scopeText(scope)}, is not that of the request, ${stamp}.`
    )
  }
}

export function checkToken (token: string | undefined): void {
  if (token !== undefined) throw new S3Error('InvalidToken')
}

export function parseStamp (stamp: string): Date | undefined {
  const fields = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(stamp)
  if (fields === null) return undefined
  const [, year, month, day, hour, minute, second] = fields
  const date = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  return Number.isNaN(date.getTime()) ? undefined : date
}

export function isoSeconds (time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z')
}

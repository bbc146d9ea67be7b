import type { paths } from './openapi.js'

export type Reason = paths['/library/{id}/reports']['post']['requestBody']['content']['application/json']['reason']

/** The reasons of a report, in words. */
export const REASONS: Record<Reason, string> = {
  spam: 'Spam',
  nudity: 'Nudity',
  hate: 'Hate',
  violence: 'Violence',
  copyright: 'Somebody else’s work',
  other: 'Something else'
}

import type { TwilioReference, TwilioStatus } from '../../schemas/webhooks.js'
import type { RequestContext } from '../ports.js'

/** Twilio's statuses of an SMS that will not arrive any more. */
const LOST = new Set(['undelivered', 'failed'])

export interface DeliveryReportsOptions {
  undelivered: (
    to: string,
    reference: string | undefined,
    errorCode: string,
    requestContext: RequestContext
  ) => Promise<void>
}

/** Twilio's reports of how an SMS ended. Every report but that of a lost SMS is ignored. */
export const createDeliveryReports = ({ undelivered }: DeliveryReportsOptions) =>
  async function report (
    { MessageStatus: status = '', To: to = '', ErrorCode: code = '' }: TwilioStatus,
    { reference }: TwilioReference,
    requestContext: RequestContext
  ): Promise<void> {
    if (LOST.has(status)) await undelivered(to, reference, code, requestContext)
  }

/**
 * Whether to keep an answer. A success is kept even if the client is gone. A refusal may come from a client that is
 * gone, a failure is temporary, and a 401 is about the token, not the request.
 */
export const isLasting = (status: number, isClientGone: boolean): boolean =>
  status < 300 || (status >= 400 && status < 500 && status !== 401 && !isClientGone)

import type { IncomingMessage, ServerResponse } from 'node:http'

const MAX_DRAIN = 64 * 1024 * 1024

/**
 * The body as it comes over the wire, with back-pressure. The first read of a request with `Expect: 100-continue` asks
 * the client to go on (RFC 9110 §10.1.1). An early stop ends neither the request nor the connection.
 */
export class RequestBytes implements AsyncIterable<Buffer> {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #chunks: AsyncIterator<Buffer>
  #awaited: boolean

  constructor (request: IncomingMessage, response: ServerResponse) {
    this.#request = request
    this.#response = response
    this.#chunks = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
    this.#awaited = request.headers.expect?.toLowerCase() === '100-continue' && request.httpVersion !== '1.0'
  }

  [Symbol.asyncIterator] (): AsyncIterator<Buffer> {
    return { next: async () => await this.#next() }
  }

  /** False while the client still waits for permission to send: then the start of its next request is unknown. */
  canContinue (): boolean {
    return !this.#awaited
  }

  /** Drops the rest of the body, so that the client can finish sending and read its answer. */
  async drain (): Promise<void> {
    if (this.#awaited) return
    // An answered request gets no event when its connection ends.
    const { socket } = this.#request
    const stop = (): void => { this.#request.destroy() }
    if (socket.destroyed) stop()
    socket.once('close', stop)
    try {
      for (let left = MAX_DRAIN; left > 0;) {
        const { done, value } = await this.#next()
        if (done === true) return
        left -= value.length
      }
      stop()
    } finally {
      socket.off('close', stop)
    }
  }

  async #next (): Promise<IteratorResult<Buffer>> {
    if (this.#awaited) {
      this.#awaited = false
      this.#response.writeContinue()
    }
    return await this.#chunks.next()
  }
}

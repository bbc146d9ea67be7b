export const HOST = '127.0.0.1'

/** What a client connects to. */
export const s3Endpoint = (port: number) => `http://${HOST}:${port}`

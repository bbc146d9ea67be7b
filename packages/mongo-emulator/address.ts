export const HOST = '127.0.0.1'

/** What a client connects to. */
export const mongoUri = (port: number) => `mongodb://${HOST}:${port}/hookaba?directConnection=true`

import { ConfigError, readConfig } from '../services/config.js'

/** What an operator reads who starts the service with these variables. */
export function refusal (env: Record<string, string>): string {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'accepted'
}

import { ConfigError, readConfig } from '../../services/config.js'

/** The message that an operator reads when the service starts with these variables. */
export function refusal (env: Record<string, string>): string {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'accepted'
}

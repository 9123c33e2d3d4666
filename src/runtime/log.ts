import { pino } from 'pino';
import type { Logger } from './logger.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** Properties that are redacted in every logged object, as a second line of defense. */
const REDACTED = ['key', 'token', 'adminKey', 'headers', 'options', 'authorization'].flatMap((name) =>
  [`*.${name}`, `*.*.${name}`].concat(name === 'key' ? [] : [name]),
);

interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/** An error without its own properties: errors of an HTTP client contain headers and bodies. */
function loggedError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  return {
    type: error.name,
    message: error.message,
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...(error.cause === undefined || depth >= 3 ? {} : { cause: loggedError(error.cause, depth + 1) }),
  };
}

/** JSON lines on standard output. */
export function createLog(level: LogLevel): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: {
      level: (label) => ({ level: label }),
      // Strip errors logged under any name, not only `err`.
      log: (fields) =>
        Object.fromEntries(
          Object.entries(fields).map(([name, value]) => [
            name,
            name !== 'err' && value instanceof Error ? loggedError(value) : value,
          ]),
        ),
    },
    serializers: { err: (error: unknown) => loggedError(error) },
    redact: { paths: REDACTED, censor: '[redacted]' },
  });
}

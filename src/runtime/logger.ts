type Write = (fields: object, message: string) => void;

/** The log, with pino's order of arguments. */
export interface Logger {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  /** A log that adds `fields` to every line. */
  child(fields: object): Logger;
}

type Write = (fields: object, message: string) => void;

/** What the program needs of a log, in pino's order of arguments. */
export interface Logger {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  /** A log whose lines all carry `fields`. */
  child(fields: object): Logger;
}

/** A command failed. The message is one line with the cause and the remedy. */
export class InstallError extends Error {
  override readonly name = 'InstallError';
  /** 3: the command cannot succeed until a person changes something, so that a Job does not retry it. */
  readonly exitCode: 1 | 3;

  constructor(message: string, exitCode: 1 | 3 = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

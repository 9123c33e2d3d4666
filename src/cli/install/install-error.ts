/** A command that could not be carried out; the message is one line that says why, and what to do. */
export class InstallError extends Error {
  override readonly name = 'InstallError';
  /** 3: the same command fails again until a person changes something, so that a Job need not try it again. */
  readonly exitCode: 1 | 3;

  constructor(message: string, exitCode: 1 | 3 = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

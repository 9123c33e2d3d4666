/** A command that could not be carried out; the message is one line that says why, and what to do. */
export class InstallError extends Error {
  override readonly name = 'InstallError';
}

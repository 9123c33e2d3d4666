/** A server does not have the API that was tried. */
export class ApiMissingError extends Error {
  override readonly name = 'ApiMissingError';
}

/** Spring answers 404 for a path that it does not serve; Nacos 3 answers 410 for an API that is switched off. */
export function isMissingApi(status: number): boolean {
  return status === 404 || status === 410;
}

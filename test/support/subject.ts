/** A store under test and how to be rid of it. */
export interface Subject<T> extends AsyncDisposable {
  readonly subject: T;
}

export const plainSubject = async <T>(subject: T): Promise<Subject<T>> => ({ subject, [Symbol.asyncDispose]: async () => {} });

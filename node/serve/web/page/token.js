// A room's token and the address that it comes by.

/**
 * Takes a room's token out of the page's address, where it would stay in the history and be seen, into this tab's
 * storage. Links have it behind #, which browsers do not send; one with ?token= works as well.
 * @param {string} room @param {{location: Location, history: History, sessionStorage: Storage}} page the window
 * @returns {string} the token, "" for none
 */
export function takeToken(room, page) {
  const { location, history } = page;
  const key = `weft.token:${room}`;
  const url = new URL(location.href);
  const behind = new URLSearchParams(url.hash.slice(1));
  const given = behind.get("token") ?? url.searchParams.get("token");
  if (given !== null) {
    url.searchParams.delete("token");
    behind.delete("token");
    url.hash = behind.toString();
    history.replaceState(history.state, "", url);
    try { page.sessionStorage.setItem(key, given); } catch { return given; }
  }
  try { return page.sessionStorage.getItem(key) ?? ""; } catch { return ""; }
}

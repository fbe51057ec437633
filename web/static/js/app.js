// The page: who is signed in, which view is shown, and the connection that keeps it current.

import { currentSession, get, signOut, whenSignedOut } from "./api.js";
import { drawBar, showLink } from "./bar.js";
import { fill, h, say } from "./dom.js";
import { preferredLanguage, t, useLanguage } from "./i18n.js";
import { setServerTime, takeRows } from "./store.js";
import { Stream } from "./stream.js";
import { showInstance } from "./views/instance.js";
import { showList } from "./views/list.js";
import { showLogin } from "./views/login.js";

const bar = document.getElementById("bar");
const main = document.getElementById("main");
const banner = document.getElementById("banner");
/** Rows are sent as they change; once in a while all of them are read, whatever was missed. */
const REFRESH_MS = 30_000;

let session = null;
let endView = () => {};
let wasLost = false;

const stream = new Stream({
  event(name, data) {
    if (data.server_ms) setServerTime(data.server_ms);
    if (name === "rows") takeRows(data.instances, { gone: data.gone });
    else dispatchEvent(new CustomEvent(`stream:${name}`, { detail: data }));
  },
  live() {
    showLink("live");
    banner.hidden = true;
    document.body.classList.remove("stale");
    if (!wasLost) return;
    wasLost = false;
    say(t("banner.back"));
    readRows();
    dispatchEvent(new Event("stream:back"));
  },
  lost() {
    wasLost = true;
    showLink("lost");
    document.body.classList.add("stale");
    if (banner.hidden) fill(banner, h("i", { class: "mark", "aria-hidden": "true" }), h("strong", {}, t("banner.lost")), " ", t("banner.stale"));
    banner.hidden = false;
  },
  signedOut: () => leave(),
});

async function begin() {
  await useLanguage(preferredLanguage());
  whenSignedOut(leave);
  addEventListener("hashchange", show);
  setInterval(() => session && !document.hidden && readRows(), REFRESH_MS);
  await enter();
}

/** Find out who we are; try again for as long as the server does not answer. */
async function enter() {
  try {
    session = await currentSession();
  } catch (error) {
    main.replaceChildren(h("p", { class: "empty", role: "alert" }, `${t("error.unreachable")} (${error.message})`));
    setTimeout(enter, 2000);
    return;
  }
  await show();
}

async function readRows() {
  try {
    const answer = await get("/instances");
    setServerTime(answer.server_ms);
    takeRows(answer.instances, { complete: true });
  } catch (error) {
    // The stream tells of a lost connection; what else went wrong is said once here.
    if (error.status >= 500) say(error.message);
  }
}

function leave() {
  session = null;
  stream.end();
  banner.hidden = true;
  document.body.classList.remove("stale");
  show();
}

async function language(name) {
  await useLanguage(name);
  await show();
}

async function show() {
  endView();
  endView = () => {};
  document.getElementById("skip").textContent = t("skip");
  drawBar(bar, {
    session,
    language,
    signOut: async () => {
      await signOut();
      leave();
    },
  });
  document.querySelectorAll("dialog").forEach((dialog) => dialog.remove());
  if (!session) {
    showLogin(main, (found) => {
      session = found;
      show();
    });
    return;
  }
  const found = /^#\/instances\/([^/]+)(?:\/(\w+))?$/.exec(location.hash);
  const id = found && decodeURIComponent(found[1]);
  if (id) {
    endView = showInstance(main, id, found[2]);
  } else {
    endView = showList(main);
  }
  stream.follow(id || null);
  readRows();
  scrollTo(0, 0);
}

begin();

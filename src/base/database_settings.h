/*
 * database_settings.h
 *		What ALTER DATABASE and ALTER ROLE ... SET say for this process.
 */
#ifndef CAPI_DATABASE_SETTINGS_H
#define CAPI_DATABASE_SETTINGS_H

/*
 * Inside a transaction: do they say something else than at the first call?
 * A process gets them when it connects, and then no more.
 */
extern bool capi_database_settings_changed(void);

#endif							/* CAPI_DATABASE_SETTINGS_H */
